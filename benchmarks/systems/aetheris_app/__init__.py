"""The agents and the tool of the benchmark, as an app of a user's project."""
