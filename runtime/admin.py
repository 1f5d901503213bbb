"""The admin looks and does not touch: rows change through the gate alone. Its actions call the jobs' own verbs."""

from __future__ import annotations

from typing import Any

from django.contrib import admin, messages
from django.db.models import Model, QuerySet
from django.http import HttpRequest
from django.urls import NoReverseMatch, reverse
from django.utils.html import format_html
from django.utils.safestring import SafeString

from runtime import agents, holds, schedules
from runtime.exceptions import AetherisError
from runtime.models import (
    BulkOperation,
    Hold,
    Job,
    LedgerEntry,
    Schedule,
    Signal,
    Step,
    Wait,
    Webhook,
    Worker,
)
from runtime.models.hold import HoldKind
from runtime.permissions import may_operate, principal


class ReadOnly(admin.ModelAdmin[Any]):
    """A list that never selects payloads, and pages that show them to those who may see them."""

    payloads: tuple[str, ...] = ()
    internal: tuple[str, ...] = ()
    list_per_page = 50
    show_full_result_count = False
    ordering = ("-id",)

    def has_add_permission(self, request: HttpRequest) -> bool:
        return False

    def has_change_permission(self, request: HttpRequest, obj: Model | None = None) -> bool:
        return False

    def has_delete_permission(self, request: HttpRequest, obj: Model | None = None) -> bool:
        return False

    def get_queryset(self, request: HttpRequest) -> QuerySet[Any]:
        rows = super().get_queryset(request)
        one = request.resolver_match is not None and request.resolver_match.kwargs.get("object_id")
        return rows if one else rows.defer(*self.payloads, *self.internal)

    def get_fields(self, request: HttpRequest, obj: Model | None = None) -> list[Any]:
        hidden = {*self.internal, *(() if _sees_payloads(request) else self.payloads)}
        columns = [field.name for field in self.model._meta.concrete_fields if field.name not in hidden]
        return [*(name for name in self.readonly_fields if name not in columns), *columns]

    def lookup_allowed(self, lookup: str, value: str, request: HttpRequest | None = None) -> bool:
        """Not by payloads: whether a row is found would tell what is in it."""
        hidden = {*self.payloads, *self.internal}
        return lookup.split("__")[0] not in hidden and super().lookup_allowed(lookup, value, request)  # type: ignore[arg-type]

    readonly_fields = ["trace"]

    @admin.display(description="Trace")
    def trace(self, row: Any) -> SafeString | str:
        """The job's page, where it can be understood."""
        job_id = row.pk if isinstance(row, Job) else row.job_id
        try:
            return format_html('<a href="{}">trace</a>', reverse("trace:job", args=[job_id]))
        except NoReverseMatch:  # a project without the pages
            return "–"

    @admin.display(description="Job", ordering="job_id")
    def job_link(self, row: Any) -> SafeString:
        address = reverse("admin:runtime_job_change", args=[row.job_id])
        return format_html('<a href="{}">{}</a>', address, row.job_id)


def _sees_payloads(request: HttpRequest) -> bool:
    return bool(request.user.has_perm("runtime.view_payload"))


def _act(request: HttpRequest, jobs: QuerySet[Job], verb: str) -> None:
    done = 0
    for job in jobs:
        try:
            getattr(job, verb)(by=principal(request.user), why="from the admin")
        except AetherisError as error:
            messages.error(request, str(error))
        else:
            done += 1
    if done:
        messages.success(request, f"{verb.title()}: {done} of {len(jobs)} jobs.")


class ByAgent(admin.SimpleListFilter):
    """The registered agents: to ask a large table for its distinct values would read all of it."""

    title = "agent"
    parameter_name = "agent"

    def lookups(self, request: HttpRequest, model_admin: Any) -> list[tuple[str, str]]:
        return [(name, name) for name in sorted(agents.registered())]

    def queryset(self, request: HttpRequest, queryset: QuerySet[Any]) -> QuerySet[Any]:
        return queryset.filter(agent=self.value()) if self.value() else queryset


@admin.register(Job)
class JobAdmin(ReadOnly):
    payloads = ("input", "result", "error")
    internal = ("head", "request_digest", "result_template")
    list_display = (
        "id",
        "agent",
        "status",
        "created_at",
        "finished_at",
        "unfinished_steps",
        "submitted_by",
        "trace",
    )
    list_filter = ("status", ByAgent)
    search_fields = ("id", "agent", "idempotency_key", "submitted_by")
    readonly_fields = ["trace", "related"]
    actions = ("cancel", "pause", "resume", "retry")

    def has_operate_permission(self, request: HttpRequest) -> bool:
        return may_operate(request.user)

    @admin.action(description="Cancel the chosen jobs", permissions=["operate"])
    def cancel(self, request: HttpRequest, queryset: QuerySet[Job]) -> None:
        _act(request, queryset, "cancel")

    @admin.action(description="Pause the chosen jobs", permissions=["operate"])
    def pause(self, request: HttpRequest, queryset: QuerySet[Job]) -> None:
        _act(request, queryset, "pause")

    @admin.action(description="Resume the chosen jobs", permissions=["operate"])
    def resume(self, request: HttpRequest, queryset: QuerySet[Job]) -> None:
        _act(request, queryset, "resume")

    @admin.action(description="Retry the chosen failed jobs", permissions=["operate"])
    def retry(self, request: HttpRequest, queryset: QuerySet[Job]) -> None:
        _act(request, queryset, "retry")

    @admin.display(description="Its rows")
    def related(self, job: Job) -> SafeString:
        links = [
            (reverse(f"admin:runtime_{name}_changelist"), label)
            for name, label in (("step", "steps"), ("ledgerentry", "ledger"), ("wait", "waits"), ("signal", "signals"))
        ]  # fmt: skip
        return format_html(
            '<a href="{}?job__id__exact={pk}">{}</a> · <a href="{}?job__id__exact={pk}">{}</a> · '
            '<a href="{}?job__id__exact={pk}">{}</a> · <a href="{}?job__id__exact={pk}">{}</a>',
            *(text for link in links for text in link),
            pk=job.pk,
        )


class OfOneJob(ReadOnly):
    """Rows of jobs, which the job's page links to by its id."""

    def lookup_allowed(self, lookup: str, value: str, request: HttpRequest | None = None) -> bool:
        return lookup == "job__id__exact" or super().lookup_allowed(lookup, value, request)


@admin.register(Step)
class StepAdmin(OfOneJob):
    payloads = ("config", "result", "error", "resume")
    internal = ("causes",)
    list_display = (
        "key",
        "kind",
        "status",
        "attempt",
        "failures",
        "waiting_for",
        "claimed_at",
        "job_link",
        "trace",
    )
    list_filter = ("status",)
    search_fields = ("key", "job__id")


@admin.register(LedgerEntry)
class LedgerEntryAdmin(OfOneJob):
    payloads = ("arguments", "result", "error", "resolved_why")
    internal = ("fingerprint", "usage")
    list_display = (
        "call",
        "name",
        "state",
        "attempt",
        "calls",
        "started_at",
        "settled_at",
        "job_link",
        "trace",
    )
    list_filter = ("state",)
    search_fields = ("call", "name", "idempotency_key", "external_id", "job__id")


@admin.register(Signal)
class SignalAdmin(OfOneJob):
    payloads = ("payload",)
    internal = ("digest",)
    list_display = ("name", "state", "sender", "received_at", "consumed_at", "job_link", "trace")
    list_filter = ("state",)
    search_fields = ("name", "dedup_id", "sender", "job__id")


@admin.register(Wait)
class WaitAdmin(OfOneJob):
    payloads = ("prompt",)
    list_display = (
        "step_key",
        "kind",
        "name",
        "opened_at",
        "deadline_at",
        "closed_at",
        "outcome",
        "job_link",
        "trace",
    )
    search_fields = ("step_key", "name", "job__id")


@admin.register(Hold)
class HoldAdmin(ReadOnly):
    list_display = ("kind", "name", "tenant", "held_at", "by", "why", "released_at", "released_by")
    list_filter = ("kind", ("released_at", admin.EmptyFieldListFilter))
    search_fields = ("name",)
    readonly_fields = []
    actions = ("end",)

    def has_operate_permission(self, request: HttpRequest) -> bool:
        return may_operate(request.user)

    @admin.action(description="Let the chosen agents and queues go on", permissions=["operate"])
    def end(self, request: HttpRequest, queryset: QuerySet[Hold]) -> None:
        for held in queryset.active():  # type: ignore[attr-defined]
            who = principal(request.user)
            holds.end(HoldKind(held.kind), held.name, tenant=held.tenant, by=who, why="from the admin")


@admin.register(BulkOperation)
class BulkOperationAdmin(ReadOnly):
    list_display = ("verb", "total", "done", "refused", "begun_at", "finished_at", "by", "why")
    list_filter = ("verb",)
    readonly_fields = []


@admin.register(Webhook)
class WebhookAdmin(ReadOnly):
    payloads = ("body", "error")
    list_display = (
        "provider",
        "event_id",
        "state",
        "deliveries",
        "received_at",
        "read_at",
        "external_id",
        "entry_id",
    )
    list_filter = ("state", "provider")
    search_fields = ("event_id", "key", "external_id")
    readonly_fields = []


@admin.register(Worker)
class WorkerAdmin(ReadOnly):
    list_display = (
        "name",
        "id",
        "role",
        "queues",
        "capabilities",
        "host",
        "pid",
        "started_at",
        "heartbeat_at",
        "draining_at",
        "stopped_at",
    )
    search_fields = ("name", "host", "id")
    readonly_fields = []


@admin.register(Schedule)
class ScheduleAdmin(ReadOnly):
    """When it ticks stands in its periodic task."""

    payloads = ("input",)
    list_display = ("name", "agent", "timing", "is_enabled", "last_tick_at", "last_error")
    list_select_related = ("task__crontab", "task__interval")
    search_fields = ("task__name", "agent")
    ordering = ("task__name",)
    readonly_fields = ["timing"]
    actions = ("pause", "resume")

    def has_operate_permission(self, request: HttpRequest) -> bool:
        return may_operate(request.user)

    @admin.action(description="Let the chosen schedules rest", permissions=["operate"])
    def pause(self, request: HttpRequest, queryset: QuerySet[Schedule]) -> None:
        for schedule in queryset:
            schedules.pause(schedule)

    @admin.action(description="Let the chosen schedules go on", permissions=["operate"])
    def resume(self, request: HttpRequest, queryset: QuerySet[Schedule]) -> None:
        for schedule in queryset:
            schedules.resume(schedule)
