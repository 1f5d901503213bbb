"""What a finished job answers, where that is an expression over its steps' results."""

from typing import Any

from django.apps import apps

from runtime import blobs, expressions
from runtime.values import check


def evaluate_job_result(payload: dict[str, Any], fresh: dict[str, Any]) -> Any:
    """The value of the job's result expression; `fresh` are results that the turn at hand is about to record.

    Raises `ExpressionFailed` where it has no value, `InputInvalid` where that cannot be stored.
    """
    jobs = apps.get_model("runtime", "Job").objects
    steps = apps.get_model("runtime", "Step").objects
    job_id = (
        payload["job"] if "job" in payload else steps.values_list("job", flat=True).get(pk=payload["step"])
    )
    job_input, template, tenant = jobs.values_list("input", "result_template", "tenant").get(pk=job_id)
    keys = expressions.references(template["expression"]) - {"input"} - set(fresh)
    results = dict(steps.filter(job=job_id, key__in=keys).values_list("key", "result"))
    names = blobs.all_whole(tenant, {"input": job_input, **results})
    value = expressions.evaluate(template["expression"], {**names, **fresh})
    check(value, "result")
    return value
