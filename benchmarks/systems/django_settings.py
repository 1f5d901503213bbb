"""What a new project has, and a connection to the database that stays open."""

from aetheris_project.addresses import database
from benchmarks.orders import variable

SECRET_KEY = "of no project"
INSTALLED_APPS = [
    "django.contrib.admin",
    "django.contrib.auth",
    "django.contrib.contenttypes",
    "django.contrib.sessions",
    "django.contrib.messages",
    "django.contrib.staticfiles",
]
DATABASES = {"default": {**database(variable("DATABASE_URL")), "CONN_MAX_AGE": None}}
USE_TZ = True
