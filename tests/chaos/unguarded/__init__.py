"""An app of a stack whose processes are to do without one of their guards, which their environment names."""
