"""The web application, for gunicorn: aetheris_project.wsgi:application."""

import os

from django.core.wsgi import get_wsgi_application

os.environ.setdefault("DJANGO_SETTINGS_MODULE", "aetheris_project.settings")

application = get_wsgi_application()
