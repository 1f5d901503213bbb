"""The API, the admin and the pages."""
