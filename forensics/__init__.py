"""Ways to look at a job: trace pages, replay. A leaf: reads the runtime and is imported by nobody."""
