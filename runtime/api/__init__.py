"""The REST API under /api/v1/: an edge. Each view fetches, calls one verb, and answers."""
