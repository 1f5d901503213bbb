"""Django's view of the runtime."""

from django.apps import AppConfig
from django.utils.module_loading import autodiscover_modules


class RuntimeConfig(AppConfig):
    """Jobs, steps, events and the ledger; the API, the admin and the commands."""

    default_auto_field = "django.db.models.BigAutoField"
    name = "runtime"
    verbose_name = "Aetheris"

    def ready(self) -> None:
        for module in ("nodes", "tools", "agents"):
            autodiscover_modules(module)
