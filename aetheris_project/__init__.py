"""The Django project: settings, URLs, Celery, WSGI. It wires and decides nothing."""
