"""Addresses of the API, below /api/v1/."""

from django.urls import path, re_path, register_converter
from django.urls.converters import StringConverter

from runtime.api import docs
from runtime.api.views import (
    approvals,
    catalog,
    control,
    jobs,
    ledger,
    many,
    outside,
    past,
    schedules,
    stream,
)

app_name = "api"


class KeyConverter(StringConverter):
    """The key of a step: a text that PostgreSQL can look for."""

    regex = r"[^/\x00]+"


register_converter(KeyConverter, "key")

urlpatterns = [
    path("jobs", jobs.Jobs.as_view(), name="jobs"),
    path("jobs/bulk", many.SubmitMany.as_view(), name="submit-many"),
    path("jobs/<uuid:job_id>", jobs.OneJob.as_view(), name="job"),
    path("jobs/<uuid:job_id>/steps", jobs.Steps.as_view(), name="steps"),
    path("jobs/<uuid:job_id>/steps/<key:key>", jobs.OneStep.as_view(), name="step"),
    path("jobs/<uuid:job_id>/events", jobs.Events.as_view(), name="events"),
    path("jobs/<uuid:job_id>/stream", stream.Stream.as_view(), name="stream"),
    path("jobs/<uuid:job_id>/state", past.State.as_view(), name="state"),
    path("jobs/<uuid:job_id>/diff", past.Diff.as_view(), name="diff"),
    path("jobs/<uuid:job_id>/graph", jobs.JobGraph.as_view(), name="graph"),
    path("jobs/<uuid:job_id>/signals", jobs.Signals.as_view(), name="signals"),
    path("jobs/<uuid:job_id>/approvals/<key:step>", approvals.Decide.as_view(), name="decide"),
    path("jobs/<uuid:job_id>/cancel", jobs.Cancel.as_view(), name="cancel"),
    path("jobs/<uuid:job_id>/pause", jobs.Pause.as_view(), name="pause"),
    path("jobs/<uuid:job_id>/resume", jobs.Resume.as_view(), name="resume"),
    path("jobs/<uuid:job_id>/retry", jobs.Retry.as_view(), name="retry"),
    path("jobs/<uuid:job_id>/adopt", jobs.Adopt.as_view(), name="adopt"),
    path("jobs/<uuid:job_id>/fork", control.Fork.as_view(), name="fork"),
    path("bulk", control.Bulk.as_view(), name="bulk"),
    path("bulk/<uuid:operation_id>", control.OneBulk.as_view(), name="one_bulk"),
    path("bulk/<uuid:operation_id>/continue", control.ContinueBulk.as_view(), name="continue_bulk"),
    path("holds", control.Holds.as_view(), name="holds"),
    path("agents/<str:name>/pause", control.PauseAgent.as_view(), name="pause_agent"),
    path("agents/<str:name>/resume", control.ResumeAgent.as_view(), name="resume_agent"),
    path("queues/<str:name>/pause", control.PauseQueue.as_view(), name="pause_queue"),
    path("queues/<str:name>/resume", control.ResumeQueue.as_view(), name="resume_queue"),
    path("approvals", approvals.Inbox.as_view(), name="approvals"),
    path("schedules", schedules.Schedules.as_view(), name="schedules"),
    path("schedules/<str:name>", schedules.OneSchedule.as_view(), name="schedule"),
    path("schedules/<str:name>/pause", schedules.Pause.as_view(), name="schedule-pause"),
    path("schedules/<str:name>/resume", schedules.Resume.as_view(), name="schedule-resume"),
    path("schedules/<str:name>/run", schedules.Run.as_view(), name="schedule-run"),
    path("ledger", ledger.Ledger.as_view(), name="ledger"),
    path("ledger/<int:entry_id>/resolve", ledger.Resolve.as_view(), name="resolve"),
    path("webhooks/<slug:provider>", outside.Webhooks.as_view(), name="webhooks"),
    path("callbacks/<str:token>", outside.Callbacks.as_view(), name="callbacks"),
    path("agents", catalog.Agents.as_view(), name="agents"),
    path("agents/<str:name>", catalog.OneAgent.as_view(), name="agent"),
    path("tools", catalog.Tools.as_view(), name="tools"),
    path("problems/<slug:slug>", catalog.Problem.as_view(), name="problem"),
    path("schema/", docs.Schema.as_view(), name="schema"),
    path("docs/", docs.Docs.as_view(), name="docs"),
    re_path("", catalog.Nowhere.as_view()),
]
