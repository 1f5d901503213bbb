"""Every built-in kind keeps what all kinds promise. A kind of one's own is held to it by the same suite."""

import json
from collections.abc import Callable
from typing import Any

import pytest
from django.contrib.auth.models import User

from runtime import nodes
from runtime.models import Job
from runtime.testing import PROMISES, KindCase, fire_timers, run
from tests.agents_app.world import World

BODY = {"nodes": [{"id": "s", "kind": "function", "function": "say", "inputs": {"value": "${item}"}}]}
PLANNED = {"nodes": [{"id": "s", "kind": "function", "function": "say", "inputs": {"value": "planned"}}]}


def approve(job: Job) -> None:
    boss = User.objects.get_or_create(username="boss", is_superuser=True)[0]
    for wait in job.waits.open().filter(kind="approval"):
        job.decide(wait.step_key, approve=True, user=boss, comment="fine")


def signal(job: Job) -> None:
    for _ in job.waits.open().filter(kind="signal"):
        job.signal("go", "came")


def run_children(job: Job) -> None:
    for child in Job.objects.unfinished().filter(parent_step__job=job):
        run(child)


CASES = [
    KindCase(
        {"kind": "tool", "tool": "lookup", "inputs": {"name": "${input}"}},
        input="cup",
        result={"name": "cup", "amount": 50},
        invalid=[{}, {"tool": "no_such_tool"}, {"tool": "lookup", "inputs": {"nobody": 1}}, {"tool": "lookup", "x": 1}],
    ),
    KindCase(
        {"kind": "function", "function": "add", "inputs": {"one": "${input}", "other": 2}},
        input=40,
        result=42,
        invalid=[{}, {"function": "no_such_function"}, {"function": "add", "inputs": {"one": "${nobody}"}}],
    ),
    KindCase(
        {"kind": "llm", "prompt": "Is ${input} good?"},
        input="it",
        result="yes",
        invalid=[{}, {"prompt": "a", "messages": [{"role": "user", "content": "b"}]}, {"prompt": ""}],
    ),
    KindCase(
        {"kind": "condition", "if": "input > 3"},
        input=5,
        result=True,
        branch="true",
        invalid=[{}, {"if": "input >"}, {"if": "nobody > 3"}],
    ),
    KindCase(
        {"kind": "approval", "prompt": "May ${input}?", "timeout": "1h"},
        input="I",
        wake=approve,
        result={"decision": "approved", "answer": {}, "comment": "fine"},
        branch="approved",
        invalid=[{}, {"prompt": "a", "on_timeout": "fail"}, {"prompt": "a", "approvers": {"animals": []}}],
    ),
    KindCase(
        {"kind": "wait", "signal": "go"},
        wake=signal,
        result="came",
        invalid=[{}, {"signal": ""}, {"signal": "go", "on_timeout": "hope", "timeout": "1h"}],
    ),
    KindCase(
        {"kind": "timer", "for": "1h"},
        wake=fire_timers,
        invalid=[{}, {"for": "soon"}, {"for": "1h", "until": "2030-01-01"}],
    ),
    KindCase(
        {"kind": "map", "items": "${input}", "graph": BODY, "max_parallel": 2},
        input=["a", "b", "c"],
        result=["a", "b", "c"],
        invalid=[{"items": []}, {"items": 5, "graph": BODY}, {"items": [], "graph": {"nodes": []}},
                 {"items": [], "graph": BODY, "max_parallel": 0}],
    ),
    KindCase(
        {"kind": "plan", "prompt": "Plan."},
        result="planned",
        invalid=[{}, {"prompt": "a", "function": "say"}],
    ),
    KindCase(
        {"kind": "subjob", "agent": "echo", "input": {"n": "${input}"}},
        input=7,
        wake=run_children,
        result={"n": 7},
        invalid=[{}, {"agent": "no_such_agent"}, {"agent": "echo", "on_parent_end": "explode"}],
    ),
]  # fmt: skip


@pytest.fixture(autouse=True)
def model(outside: World, settings: Any) -> None:
    settings.AETHERIS = {**settings.AETHERIS, "MODEL_CLIENT": "tests.contracts.test_node_kinds.answer"}


def answer(request: Any, *, timeout: float) -> dict[str, Any]:
    """A model that plans when it is asked to."""
    wants_plan = request.get("response_format") == {"type": "json_object"}
    return {"content": json.dumps(PLANNED) if wants_plan else "yes", "model": request["model"], "usage": {}}


def test_every_kind_has_a_case():
    assert {case.kind for case in CASES} == set(nodes.registered())


@pytest.mark.parametrize("promise", PROMISES, ids=lambda promise: promise.__name__)
@pytest.mark.parametrize("case", CASES, ids=lambda case: case.kind)
def test_a_kind_keeps_its_promise(case: KindCase, promise: Callable[[KindCase], None]) -> None:
    if case.kind == "approval":
        boss = User.objects.create(username="boss", is_superuser=True)
        case = KindCase(**{**vars(case), "result": {**case.result, "by": boss.pk}})
    promise(case)
