"""The refund agent as a Django app."""

from django.apps import AppConfig


class RefundConfig(AppConfig):
    """Its agents.py and tools.py are found because the app is installed."""

    name = "examples.refund"
    label = "refund"
    verbose_name = "Refunds"
