"""What a tool is. Knows nothing of jobs."""
