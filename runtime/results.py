"""What a finished job answers, where that is an expression over its steps' results."""

from typing import Any

from django.apps import apps

from runtime import expressions


def evaluate_job_result(payload: dict[str, Any], fresh: dict[str, Any]) -> Any:
    """The value of the job's result expression; `fresh` are results that the turn at hand is about to record."""
    jobs = apps.get_model("runtime", "Job").objects
    steps = apps.get_model("runtime", "Step").objects
    job_id = (
        payload["job"] if "job" in payload else steps.values_list("job", flat=True).get(pk=payload["step"])
    )
    job_input, template = jobs.values_list("input", "result_template").get(pk=job_id)
    keys = expressions.references(template["expression"]) - {"input"} - set(fresh)
    results = dict(steps.filter(job=job_id, key__in=keys).values_list("key", "result"))
    return expressions.evaluate(template["expression"], {"input": job_input, **results, **fresh})
