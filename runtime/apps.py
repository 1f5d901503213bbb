"""Django's view of the runtime."""

from django.apps import AppConfig
from django.db.models.signals import post_migrate
from django.utils.module_loading import autodiscover_modules


class RuntimeConfig(AppConfig):
    """Jobs, steps, events and the ledger; the API, the admin and the commands."""

    default_auto_field = "django.db.models.BigAutoField"
    name = "runtime"
    verbose_name = "Aetheris"

    def ready(self) -> None:
        for module in ("nodes", "tools", "agents"):
            autodiscover_modules(module)
        from runtime.nodes import discover  # kinds build on models, which are loaded by now

        discover()
        from runtime import checks  # noqa: F401 - registers them
        from runtime.permissions import create_groups  # builds on models, which are loaded by now
        from runtime.schedules import sync_after_migrate

        post_migrate.connect(create_groups, sender=self, dispatch_uid="aetheris.groups")
        post_migrate.connect(sync_after_migrate, sender=self, dispatch_uid="aetheris.schedules")
