"""agentfield (#273): a page of a list read 1.1 MB of payload for each of its rows."""

from django.db import connection
from django.test.utils import CaptureQueriesContext

from runtime.models import Job

LARGE = "x" * 20_000


def test_a_list_selects_no_payload_and_shows_none(api, browser, drive):
    for _ in range(3):
        drive(Job.objects.submit("echo", LARGE))
    with CaptureQueriesContext(connection) as asked:
        told = api.get("jobs").content
        shown = browser.get("/trace/jobs/").content
    assert LARGE[:100].encode() not in told + shown
    columns = [f'"aetheris_job"."{name}"' for name in ("input", "result", "error")]
    assert not [query for query in asked.captured_queries for column in columns if column in query["sql"]]
