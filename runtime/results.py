"""What a finished job answers, where that is an expression over its steps' results."""

from typing import Any

from django.apps import apps

from runtime import blobs, expressions
from runtime.values import check


def evaluate_job_result(payload: dict[str, Any], fresh: dict[str, Any]) -> Any:
    """The value of the job's result expression; `fresh` are results that the turn at hand is about to record.

    Raises `ExpressionFailed` where it has no value, `InputInvalid` where that cannot be stored.
    """
    job_input, template, tenant, results = _begun(payload) if "submit" in payload else _recorded(payload)
    wanted = expressions.references(template["expression"]) - set(fresh)
    found = {"input": job_input, **results}
    names = blobs.all_whole(tenant, {name: value for name, value in found.items() if name in wanted})
    value = expressions.evaluate(template["expression"], {**names, **fresh})
    check(value, "result")
    return value


def _begun(payload: dict[str, Any]) -> tuple[Any, Any, str, dict[str, Any]]:
    """Of a fork that ends with the turn that begins it: what it takes over is all that it does."""
    submit, copied = payload["submit"], payload.get("copied", ())
    results = {step["key"]: None for step in payload["steps"]} | {row["key"]: row["result"] for row in copied}
    return submit["input"], submit["result_template"], submit["tenant"], results


def _recorded(payload: dict[str, Any]) -> tuple[Any, Any, str, dict[str, Any]]:
    steps = apps.get_model("runtime", "Step").objects
    job_id = (
        payload["job"] if "job" in payload else steps.values_list("job", flat=True).get(pk=payload["step"])
    )
    jobs = apps.get_model("runtime", "Job").objects
    job_input, template, tenant = jobs.values_list("input", "result_template", "tenant").get(pk=job_id)
    keys = expressions.references(template["expression"]) - {"input"}
    results = steps.filter(job=job_id, key__in=keys).values_list("key", "result")
    return job_input, template, tenant, dict(results)
