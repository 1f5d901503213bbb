"""Addresses of the pages."""

from typing import Any

from django.contrib.auth.views import LoginView, LogoutView
from django.templatetags.static import static
from django.urls import path
from django.views.generic import RedirectView

from forensics.views import job, lists, past

app_name = "trace"


class Icon(RedirectView):
    """Where browsers look for it on pages that do not name it."""

    def get_redirect_url(self, *args: Any, **kwargs: Any) -> str:
        return static("forensics/icon.svg")


JOB = "trace/jobs/<uuid:job_id>"

urlpatterns = [
    path("", RedirectView.as_view(pattern_name="trace:jobs"), name="home"),
    path("favicon.ico", Icon.as_view()),
    path("trace/", RedirectView.as_view(pattern_name="trace:jobs")),
    path(
        "login/",
        LoginView.as_view(template_name="forensics/login.html", redirect_authenticated_user=True),
        name="login",
    ),
    path("logout/", LogoutView.as_view(), name="logout"),
    path("trace/jobs/", lists.jobs, name="jobs"),
    path("trace/jobs.json", lists.jobs_json, name="jobs-json"),
    path("trace/approvals/", lists.approvals, name="approvals"),
    path("trace/approvals.json", lists.approvals_json, name="approvals-json"),
    path("trace/unknown/", lists.doubts, name="doubts"),
    path("trace/unknown.json", lists.doubts_json, name="doubts-json"),
    path(f"{JOB}/", job.job, name="job"),
    path(f"{JOB}.json", job.job_json, name="job-json"),
    path(f"{JOB}/state/<int:seq>/", past.state, name="state"),
    path(f"{JOB}/state/<int:seq>.json", past.state_json, name="state-json"),
    path(f"{JOB}/diff/", past.compare, name="compare"),
    path(f"{JOB}/diff/<int:before>..<int:after>/", past.diff, name="diff"),
    path(f"{JOB}/diff/<int:before>..<int:after>.json", past.diff_json, name="diff-json"),
    path(f"{JOB}/decide/<int:wait_id>/", job.decide, name="decide"),
    path(f"{JOB}/signal/<int:wait_id>/", job.signal, name="signal"),
    path(f"{JOB}/resolve/<int:entry_id>/", job.resolve, name="resolve"),
    path(f"{JOB}/cancel/", job.operate, {"verb": "cancel"}, name="cancel"),
    path(f"{JOB}/pause/", job.operate, {"verb": "pause"}, name="pause"),
    path(f"{JOB}/resume/", job.operate, {"verb": "resume"}, name="resume"),
    path(f"{JOB}/retry/", job.operate, {"verb": "retry"}, name="retry"),
]
