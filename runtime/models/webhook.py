"""The inbox of webhooks: a row before anything is made of it."""

from __future__ import annotations

from datetime import timedelta

from django.db import models
from django.db.models import Exists, OuterRef, Q

from runtime.clock import DatabaseNow
from runtime.conf import settings
from runtime.models.base import TenantField
from runtime.models.ledger import LedgerEntry
from runtime.states import WebhookState


class WebhookQuerySet(models.QuerySet["Webhook"]):
    def due(self) -> WebhookQuerySet:
        """What nobody has read though it came a while ago, and what is of a call that is known only now."""
        of_provider = LedgerEntry.objects.filter(tenant=OuterRef("tenant"), provider=OuterRef("provider"))
        by_key = Exists(of_provider.exclude(provider="").filter(idempotency_key=OuterRef("key")))
        by_id = Exists(
            of_provider.exclude(provider="")
            .exclude(external_id="")
            .filter(external_id=OuterRef("external_id"))
        )
        unread = Q(read_at=None, received_at__lt=DatabaseNow() - timedelta(seconds=settings().sweep_seconds))
        kept = DatabaseNow() - timedelta(seconds=settings().pending_timeout_seconds)
        return self.filter(unread | by_key | by_id, state=WebhookState.RECEIVED, received_at__gt=kept)


class Webhook(models.Model):
    """One event of a provider, delivered once or many times."""

    id = models.BigAutoField(primary_key=True)
    tenant = TenantField()
    provider = models.CharField(max_length=100)
    event_id = models.CharField(max_length=1000)
    state = models.CharField(max_length=12, choices=WebhookState.choices)
    body = models.JSONField(null=True)
    key = models.UUIDField(null=True)
    """Our idempotency key, as the provider hands it back."""
    external_id = models.CharField(max_length=255, default="", blank=True)
    entry = models.ForeignKey(
        LedgerEntry, models.PROTECT, null=True, related_name="webhooks", db_constraint=False, db_index=False
    )
    error = models.TextField(default="", blank=True)
    deliveries = models.IntegerField(default=1)
    received_at = models.DateTimeField()
    read_at = models.DateTimeField(null=True)

    objects = WebhookQuerySet.as_manager()

    class Meta:
        db_table = "aetheris_webhook"
        ordering = ("id",)
        constraints = (
            models.UniqueConstraint(fields=("tenant", "provider", "event_id"), name="aetheris_webhook_event"),
        )
        indexes = (
            models.Index(
                fields=("received_at",),
                name="aetheris_webhook_inbox",
                condition=Q(state=WebhookState.RECEIVED),
            ),
            models.Index(fields=("entry",), name="aetheris_webhook_entry", condition=Q(entry__isnull=False)),
        )

    def __str__(self) -> str:
        return f"{self.provider} {self.event_id} {self.state}"
