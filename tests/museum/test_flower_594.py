"""Flower (#594), Sidekiq (#1297), rq-dashboard (#526): what a job held was run as a script by whoever looked at it."""

from runtime.models import Job
from tests.engine.driving import doing, submit

EVIL = "<script>alert(1)</script><img src=x onerror=alert(2)>"


def test_what_a_job_holds_is_shown_and_never_run(browser, drive):
    def burst(context):
        raise ValueError(EVIL)

    jobs = [
        drive(Job.objects.submit("echo", {EVIL: EVIL})),
        drive(submit(doing(burst, retry={"max_attempts": 1}))),
    ]
    for path in ("/trace/jobs/", *(f"/trace/jobs/{job.pk}/" for job in jobs)):
        response = browser.get(path)
        assert response.status_code == 200
        assert (
            "<script>alert" not in response.content.decode() and "<img src=x" not in response.content.decode()
        )
        assert "script-src 'self'" in response["Content-Security-Policy"]
