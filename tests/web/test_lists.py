"""Lists cost the same for one row and for many, and never read what only the page of one thing shows."""

import pytest
from django.db import connection
from django.test.utils import CaptureQueriesContext

from tests.agents_app.world import world

PAYLOADS = {
    "aetheris_job": ("input", "result", "error"),
    "aetheris_step": ("config", "result", "error", "resume"),
    "aetheris_ledger_entry": ("arguments", "result", "error"),
}


@pytest.fixture
def rows(job_of):
    """Three jobs that wait for an approval, and three with a call in doubt."""
    for _ in range(3):
        job_of("ask", {"amount": 500})
        world.after["charge"].append(TimeoutError("no answer"))
        job_of("charge", {"amount": 1})


def test_lists_of_the_api_read_no_payloads(api, rows):
    admin = api("admin")
    for path, query in (("jobs", {}), ("approvals", {}), ("ledger", {}), ("ledger", {"state": "unknown"})):
        with CaptureQueriesContext(connection) as asked:
            assert len(admin.get(path, **query).json()["results"]) >= 3
        _look(asked)


def test_lists_of_the_pages_read_no_payloads(browser_of, rows):
    admin = browser_of("admin")
    for name in ("jobs", "approvals", "unknown"):
        for suffix in ("/", ".json"):
            with CaptureQueriesContext(connection) as asked:
                assert admin.get(f"/trace/{name}{suffix}").status_code == 200
            _look(asked)


def _look(asked):
    assert len(asked) <= 12
    for query in asked.captured_queries:
        for table, columns in PAYLOADS.items():
            for column in columns:
                assert f'"{table}"."{column}"' not in query["sql"]
