"""Agent frameworks on Aetheris. A leaf: imports the runtime and is imported by nobody."""
