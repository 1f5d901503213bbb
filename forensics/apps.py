"""Django's view of forensics."""

from django.apps import AppConfig


class ForensicsConfig(AppConfig):
    """Pages and commands that look at jobs; they only read."""

    default_auto_field = "django.db.models.BigAutoField"
    name = "forensics"
    verbose_name = "Forensics"
