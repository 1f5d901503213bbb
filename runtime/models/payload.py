"""A column for payloads: reading the attribute gives the value, also where it is kept apart."""

from __future__ import annotations

from typing import Any

from django.db import models
from django.db.models.query_utils import DeferredAttribute

from runtime import blobs


class PayloadAttribute(DeferredAttribute):
    """Fetches a value that is kept apart when it is first looked at. Lists, which look at no payload, fetch none."""

    def __get__(self, instance: Any, owner: Any = None) -> Any:
        value = super().__get__(instance, owner)
        if type(value) is blobs.Kept:
            # Of models without a column for it the tenant is that of their job.
            tenant = instance.tenant if hasattr(instance, "tenant") else instance.job.tenant
            value = blobs.whole(tenant, value)
            instance.__dict__[self.field.attname] = value
        return value

    def __set__(self, instance: Any, value: Any) -> None:
        # What has a setter is asked first, before the instance's own dictionary.
        instance.__dict__[self.field.attname] = value


class PayloadField(models.JSONField):
    """Queries that select the column by name (`values_list`) get a `Kept`, for `blobs.all_whole`."""

    descriptor_class = PayloadAttribute

    def from_db_value(self, value: Any, expression: Any, connection: Any) -> Any:
        return blobs.mark(super().from_db_value(value, expression, connection))

    def deconstruct(self) -> Any:
        name, _, args, kwargs = super().deconstruct()
        return name, "django.db.models.JSONField", args, kwargs
