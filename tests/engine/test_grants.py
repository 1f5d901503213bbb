"""Which tools and models an agent may call: allowed, after a person's approval, or not at all."""

import json

import pytest
from django.contrib.auth.models import Group, User

from runtime import agents, approvals, grants, recovery, replays
from runtime.exceptions import ApprovalRefused, CallDenied, InputInvalid, Permanent
from runtime.graph import Graph, GraphInvalid
from runtime.models import Job
from runtime.outcomes import Completed, Waiting
from runtime.ports import CrashPoint
from tests.engine.driving import (
    calling,
    crash_at,
    doing,
    drive,
    entry_of,
    run_once,
    statuses,
    step_of,
    submit,
    told,
    why,
)
from tools import NotSent


def grant(settings, **rules):
    settings.AETHERIS = {**settings.AETHERIS, "TOOL_GRANTS": rules}


@pytest.fixture
def asking(settings):
    grant(settings, charge="require_approval")


@pytest.fixture
def model(settings):
    settings.AETHERIS = {**settings.AETHERIS, "MODEL_CLIENT": "tests.agents_app.world.complete"}


@pytest.fixture
def declare():
    """Declares an agent for one test."""
    kept = dict(agents._agents)

    def declare(graph, **keys):
        agents.agent("granted", **keys)(lambda: graph)
        return "granted"

    yield declare
    agents._agents.clear()
    agents._agents.update(kept)


# What the rules say


@pytest.mark.parametrize(
    "rules, name, decision",
    [
        ({}, "pay", "allow"),
        ({"pay": "deny"}, "pay", "deny"),
        ({"pay": "deny"}, "repay", "allow"),
        ({"*": "deny", "pay": "allow"}, "pay", "allow"),
        ({"pay": "allow", "*": "deny"}, "refund", "deny"),
        ({"pay*": "require_approval", "pay_small": "allow", "*": "deny"}, "pay_small", "allow"),
        ({"p*": "deny", "pay_*": "require_approval"}, "pay_big", "require_approval"),
        ({"PAY": "deny"}, "pay", "allow"),
    ],
)
def test_of_one_list_the_rule_that_says_most_of_the_name_holds(rules, name, decision):
    source = grants.Source("x", {"tool": rules})
    assert grants.decide("tool", name, [source]).decision == decision


def test_of_several_lists_the_strictest_holds_and_is_named():
    lists = [
        grants.Source("settings", {"tool": {"pay": "allow"}}),
        grants.Source("agent a", {"tool": {"p*": "require_approval"}}),
        grants.Source("plan p", {"tool": {"*": "allow"}}),
    ]
    decided = grants.decide("tool", "pay", lists)
    assert (decided.decision, decided.by) == ("require_approval", "agent a: p*")


@pytest.mark.parametrize(
    "rules, place",
    [
        ({"pay": "maybe"}, "pay.*allow, require_approval, deny"),
        ({"pay": {"approvers": {}}}, "pay.*lacks 'decision'"),
        ({"pay": {"decision": "deny", "who": 1}}, "pay.*unknown key 'who'"),
        ({"pay": {"decision": "require_approval", "timeout": "soon"}}, "pay.*timeout"),
    ],
)
def test_rules_that_say_nothing_are_refused_where_they_stand(rules, place, settings):
    with pytest.raises(InputInvalid, match=f"tools of agent 'x'.*{place}"):
        agents.agent("x", tools=rules)
    grant(settings, **rules)
    with pytest.raises(InputInvalid, match=f"settings.*{place}"):
        submit(calling("charge"))


# Denied


def test_a_graph_that_names_a_denied_tool_is_refused_with_the_place(settings, declare):
    grant(settings, charge="deny")
    inner = calling("charge", amount=1)
    graph = Graph()
    graph.tool("ok", "lookup") >> graph.map("each", [1], inner)
    with pytest.raises(GraphInvalid) as caught:
        submit(graph)
    assert [(problem.path, problem.code) for problem in caught.value.problems] == [
        ("nodes[1].graph.nodes[0].tool", "denied")
    ]
    assert "settings: charge" in str(caught.value)


def test_a_node_may_not_name_a_denied_tool_as_its_compensation(settings):
    grant(settings, charge="deny")
    with pytest.raises(GraphInvalid, match="compensate.tool: 'charge' is denied"):
        submit(calling("notify", compensate={"tool": "charge"}))


def test_an_agent_may_not_submit_what_its_own_rules_deny(declare):
    agent = declare(calling("charge"), tools={"lookup": "allow", "*": "deny"})
    with pytest.raises(GraphInvalid, match="agent granted"):
        Job.objects.submit(agent)


def test_a_model_may_be_denied_too(settings, model):
    settings.AETHERIS = {**settings.AETHERIS, "MODEL_GRANTS": {"gpt-*": "deny"}}
    graph = Graph()
    graph.llm("ask", "hello", model="gpt-4o")
    with pytest.raises(GraphInvalid, match="nodes\\[0\\].model"):
        submit(graph)


@pytest.mark.parametrize("rides", [True, False])
def test_what_is_denied_after_the_submit_is_not_called_any_more(rides, settings, outside, worker):
    graph = Graph()
    paid = graph.tool("it", "charge")
    if rides:
        graph.function("before", "say") >> paid
    job = submit(graph)
    grant(settings, charge="deny")
    drive(job, worker)
    assert (job.status, outside.effects(), job.ledger.count()) == ("failed", [], 0)
    assert (why(job)["type"], why(job)["step"]) == ("CallDenied", "it")
    denied = job.events.get(type="tool_denied")
    assert denied.data == {"call": "charge", "name": "charge", "grant": "settings: charge"}


def test_a_step_function_is_denied_before_the_intent(declare, outside, worker):
    outside.doings["it"] = lambda context: context.tool("charge", amount=5)
    graph = Graph()
    graph.function("it", "do", what="it")
    job = drive(Job.objects.submit(declare(graph, tools={"*": "deny"})), worker)
    assert (job.status, step_of(job).attempt, outside.effects()) == ("failed", 1, [])
    assert job.ledger.count() == 0


def test_a_recorded_result_stays_although_the_tool_is_denied_by_now(settings, outside, worker, clock):
    def function(context):
        paid = context.tool("charge", amount=5)
        if context.step.attempt == 1:
            raise ValueError("once more")
        return paid

    job = submit(doing(function))
    run_once(job, worker)
    grant(settings, charge="deny")
    clock.forward(minutes=1)
    assert (drive(job, worker).result, len(outside.effects())) == ({"charged": 5}, 1)


# After an approval


def test_a_call_that_needs_an_approval_is_reserved_and_nothing_is_sent(asking, outside, worker):
    job = drive(submit(calling("charge", amount=5)), worker)
    entry = entry_of(job)
    assert (job.status, entry.state, entry.calls, entry.started_at, outside.effects()) == (
        "waiting", "reserved", 0, None, [],
    )  # fmt: skip
    wait = job.waits.get()
    assert (wait.kind, wait.for_call) == ("approval", "charge#0")
    assert '"amount": 5' in wait.prompt
    assert entry.policy["grant"] == {"decision": "require_approval", "by": "settings: charge"}
    assert job.events.get(type="tool_reserved").data["grant"] == "settings: charge"
    assert told(job, step="it") == ["step_claimed", "tool_reserved", "step_parked", "approval_requested"]


def test_once_approved_the_call_is_sent_with_the_key_that_was_reserved(asking, outside, worker, boss):
    job = drive(submit(calling("charge", amount=5)), worker)
    key = str(entry_of(job).idempotency_key)
    approvals.decide(job, None, approve=True, user=boss, answer={})
    assert drive(job, worker).result == {"charged": 5}
    (call,) = outside.effects()
    assert (call.key, entry_of(job).state) == (key, "committed")
    assert job.events.get(type="tool_called").data["approved_by"] == f"user:{boss.pk}"


def test_the_intent_of_a_tool_that_needs_an_approval_does_not_ride_with_the_claim(
    asking, outside, worker, boss
):
    graph = Graph()
    graph.function("before", "say") >> graph.tool("it", "charge")
    job = drive(submit(graph), worker)
    assert (statuses(job), entry_of(job).state) == ({"before": "completed", "it": "waiting"}, "reserved")
    approvals.decide(job, "it", approve=True, user=boss, answer={})
    assert (drive(job, worker).status, len(outside.effects())) == ("completed", 1)


def test_a_rejected_call_is_cancelled_and_its_step_fails_at_once(asking, outside, worker, boss):
    job = drive(submit(calling("charge")), worker)
    approvals.decide(job, None, approve=False, user=boss, answer={}, comment="too much")
    drive(job, worker)
    assert (job.status, entry_of(job).state, outside.effects()) == ("failed", "cancelled", [])
    assert (why(job)["type"], step_of(job).failures) == ("CallDenied", 1)
    assert "too much" in why(job)["message"]
    assert job.events.get(type="tool_cancelled").data["by"] == f"user:{boss.pk}"


def test_a_rejected_call_takes_the_edge_for_failure(asking, worker, boss):
    graph = Graph()
    paid = graph.tool("it", "charge")
    paid.when("failed") >> graph.function("instead", "say", value="sorry")
    job = drive(submit(graph), worker)
    approvals.decide(job, None, approve=False, user=boss, answer={})
    assert (drive(job, worker).status, statuses(job)["instead"]) == ("completed", "completed")


def test_approving_twice_is_once_and_changing_ones_mind_is_too_late(asking, outside, worker, boss):
    job = drive(submit(calling("charge")), worker)
    for _ in range(2):
        approvals.decide(job, "it", approve=True, user=boss, answer={})
    with pytest.raises(ApprovalRefused, match="approved already"):
        approvals.decide(job, "it", approve=False, user=boss, answer={})
    assert (drive(job, worker).status, len(outside.effects())) == ("completed", 1)


def test_only_those_whom_the_rule_names_may_approve(settings, outside, worker, boss):
    rule = {"decision": "require_approval", "approvers": {"groups": ["finance"]}}
    grant(settings, charge=rule)
    job = drive(submit(calling("charge")), worker)
    ada, bob = User.objects.create_user("ada"), User.objects.create_user("bob")
    ada.groups.add(Group.objects.get_or_create(name="finance")[0])
    with pytest.raises(ApprovalRefused, match="groups finance"):
        approvals.decide(job, "it", approve=True, user=bob, answer={})
    approvals.decide(job, "it", approve=True, user=ada, answer={})
    assert (drive(job, worker).status, len(outside.effects())) == ("completed", 1)


def test_an_approval_that_comes_too_late_is_refused_and_the_call_is_not_made(
    settings, outside, worker, boss, clock
):
    grant(settings, charge={"decision": "require_approval", "timeout": "1h"})
    job = drive(submit(calling("charge")), worker)
    clock.forward(minutes=61)
    with pytest.raises(ApprovalRefused, match="too late"):
        approvals.decide(job, "it", approve=True, user=boss, answer={})
    assert recovery.wake_due() == 1
    drive(job, worker)
    assert (job.status, entry_of(job).state, outside.effects()) == ("failed", "cancelled", [])
    assert "nobody decided in time" in why(job)["message"]


def test_a_job_that_is_cancelled_while_it_asks_cancels_the_reserved_call(asking, outside, worker):
    job = drive(submit(calling("charge")), worker)
    job.cancel(by="test", why="never mind")
    assert (entry_of(job).state, told(job, step="it")[-2:]) == (
        "cancelled",
        ["step_cancelled", "tool_cancelled"],
    )


def test_a_call_that_a_later_attempt_does_not_make_any_more_is_cancelled_in_a_sound_history(
    asking, outside, worker, boss
):
    def changes_its_mind(context):
        if context.step.attempt == 1:
            return context.tool("charge")
        raise Permanent("not any more")

    job = submit(doing(changes_its_mind))
    run_once(job, worker)
    job.decide("it", approve=True, user=boss)
    run_once(job, worker)
    assert (job.status, entry_of(job).state, outside.calls) == ("failed", "cancelled", [])
    assert replays.verify(job).is_good


def test_a_step_function_asks_for_each_of_its_calls_and_repeats_none(settings, outside, worker, boss):
    grant(settings, charge="require_approval", pay="require_approval")

    def function(context):
        at = context.now().isoformat()
        first = context.tool("charge", amount=1)
        looked = context.tool("lookup")
        second = context.tool("pay", amount=2)
        return [at, first["charged"], looked["amount"], second["paid"]]

    job = drive(submit(doing(function)), worker)
    for call in ("charge#0", "pay#0"):
        assert job.waits.get(closed_at=None).for_call == call
        approvals.decide(job, None, approve=True, user=boss, answer={})
        drive(job, worker)
    assert (job.status, (job.result or [])[1:]) == ("completed", [1, 50, 2])
    assert [call.tool for call in outside.effects()] == ["charge", "lookup", "pay"]


def test_what_woke_a_step_before_is_still_there_after_it_was_allowed_to_call(asking, worker, boss):
    def function(context):
        if context.resume is None:
            return Waiting(kind="signal", name="go")
        context.tool("charge")
        return (context.resume or {})["payload"]

    job = drive(submit(doing(function)), worker)
    job.signal("go", {"order": 7})
    drive(job, worker)
    approvals.decide(job, None, approve=True, user=boss, answer={})
    assert drive(job, worker).result == {"order": 7}


def test_code_that_catches_everything_waits_all_the_same(asking, outside, worker):
    def function(context):
        try:
            context.tool("charge")
        except Exception:
            return Completed("never mind")
        return Completed("paid")

    job = drive(submit(doing(function)), worker)
    assert (job.status, job.waits.get().for_call) == ("waiting", "charge#0")


def test_a_refusal_that_the_code_lives_with_holds_for_its_later_attempts(
    asking, outside, worker, boss, clock
):
    def function(context):
        try:
            context.tool("charge")
        except CallDenied:
            if context.step.failures == 0:
                raise ValueError("after the refusal") from None
            return "without"

    job = drive(submit(doing(function)), worker)
    approvals.decide(job, None, approve=False, user=boss, answer={})
    drive(job, worker)
    clock.forward(minutes=1)
    assert (drive(job, worker).result, job.waits.count()) == ("without", 1)


def test_a_reopened_job_asks_again_under_a_new_key(asking, outside, worker, boss):
    job = drive(submit(calling("charge")), worker)
    approvals.decide(job, None, approve=False, user=boss, answer={})
    drive(job, worker)
    job.retry(by="test", why="they changed their mind")
    assert drive(job, worker).status == "waiting"
    approvals.decide(job, None, approve=True, user=boss, answer={})
    assert drive(job, worker).status == "completed"
    assert [entry.state for entry in job.ledger.order_by("generation")] == ["cancelled", "committed"]


def test_a_call_that_was_approved_and_not_sent_is_tried_again_without_asking(
    asking, outside, worker, boss, clock
):
    outside.before["charge"].append(NotSent("away"))
    job = drive(submit(calling("charge")), worker)
    approvals.decide(job, None, approve=True, user=boss, answer={})
    drive(job, worker)
    clock.forward(minutes=1)
    assert (drive(job, worker).status, job.waits.count(), len(outside.effects())) == ("completed", 1, 1)


@pytest.mark.parametrize("point", [CrashPoint.BEFORE_RECORD, CrashPoint.AFTER_RECORD])
def test_a_crash_around_the_question_asks_once(point, asking, outside, worker, other, boss):
    job = submit(calling("charge"))
    with crash_at(point):
        drive(job, worker)
    if step_of(job).status == "running":
        step_of(job).rescue()
    drive(job, other)
    approvals.decide(job, None, approve=True, user=boss, answer={})
    assert (drive(job, other).status, len(outside.effects()), job.waits.count()) == ("completed", 1, 1)


def test_a_crash_between_the_approval_and_the_call_does_not_ask_again(asking, outside, worker, other, boss):
    job = drive(submit(calling("charge")), worker)
    approvals.decide(job, None, approve=True, user=boss, answer={})
    with crash_at(CrashPoint.AFTER_CLAIM):
        drive(job, worker)
    step_of(job).rescue()
    assert (drive(job, other).status, len(outside.effects()), job.waits.count()) == ("completed", 1, 1)


def test_a_reserved_call_is_made_where_the_rule_was_lifted_before_anybody_was_asked(
    asking, outside, worker, settings
):
    job = submit(calling("charge"))
    with crash_at(CrashPoint.BEFORE_RECORD):
        drive(job, worker)
    grant(settings)
    step_of(job).rescue()
    assert (drive(job, worker).status, len(outside.effects())) == ("completed", 1)


def test_a_model_may_need_an_approval_too(settings, model, outside, worker, boss):
    settings.AETHERIS = {**settings.AETHERIS, "MODEL_GRANTS": {"*": "require_approval"}}
    graph = Graph()
    graph.llm("it", "hello")
    job = drive(submit(graph), worker)
    assert (job.status, outside.requests) == ("waiting", [])
    approvals.decide(job, None, approve=True, user=boss, answer={})
    assert (drive(job, worker).result, len(outside.requests)) == ("yes", 1)


# What a plan may use


def planning(graph, **keys):
    outer = Graph()
    outer.plan("p", function="do", inputs={"what": "plan"}, **keys)
    return outer


@pytest.mark.parametrize(
    "tools, made",
    [
        (["lookup"], calling("charge")),
        ([], calling("charge")),
        (["l*"], calling("charge")),
    ],
)
def test_a_plan_may_use_what_its_list_names_and_nothing_else(tools, made, outside, worker):
    outside.doings["plan"] = lambda context: made
    job = drive(submit(planning(made, tools=tools)), worker)
    assert (job.status, outside.effects()) == ("failed", [])
    assert "plan p" in why(job)["message"]


def test_the_list_of_a_plan_binds_functions_maps_and_plans_inside_of_it(outside, worker):
    def innermost():
        outside.doings["deep"] = lambda context: context.tool("charge")
        return doing(outside.doings["deep"], id="deep")

    def inner():
        graph = Graph()
        graph.map("each", [1], planning(None, tools=["*"]))
        return graph

    outside.doings["plan"] = lambda context: inner() if "each" not in context.step.key else innermost()
    job = drive(submit(planning(None, tools=["lookup"])), worker)
    assert (job.status, outside.effects()) == ("failed", [])
    assert job.events.get(type="tool_denied").data["grant"] == "plan p: *"


def test_a_plan_with_a_list_begins_only_the_agents_that_it_names(outside, worker):
    graph = Graph()
    graph.subjob("sub", "echo")
    outside.doings["plan"] = lambda context: graph
    assert drive(submit(planning(graph, tools=["*"])), worker).status == "failed"
    job = drive(submit(planning(graph, tools=["*"], agents=["ec*"])), worker)
    assert job.status == "waiting"


def test_a_plan_without_a_list_may_use_what_its_agent_may(declare, outside, worker):
    outside.doings["plan"] = lambda context: calling("charge")
    agent = declare(planning(None), tools={"charge": "deny"})
    job = drive(Job.objects.submit(agent), worker)
    assert (job.status, outside.effects()) == ("failed", [])
    assert "agent granted: charge" in why(job)["message"]


def test_a_model_that_plans_with_a_denied_tool_is_told_so_and_asked_again(
    declare, model, outside, worker, clock
):
    for tool in ("charge", "lookup"):
        outside.contents.append(json.dumps(calling(tool).build()))
    graph = Graph()
    graph.plan("p", prompt="plan something", tools=["lookup"])
    job = drive(submit(graph), worker)
    clock.forward(minutes=1)
    assert drive(job, worker).status == "completed"
    assert [call.tool for call in outside.effects()] == ["lookup"]
    assert "'charge' is denied here" in outside.requests[-1]["messages"][-1]["content"]


def test_a_planned_node_cannot_lift_what_is_around_it(outside, worker):
    outside.doings["plan"] = lambda context: {
        "nodes": [{"id": "a", "kind": "function", "function": "do", "inputs": {"what": "deep"}}]
    }
    outside.doings["deep"] = lambda context: context.tool("charge")
    job = drive(submit(planning(None, tools=["lookup"])), worker)
    assert step_of(job, "p.a").config["within"] == [{"plan": "p", "tools": ["lookup"], "agents": []}]
    assert (job.status, outside.effects()) == ("failed", [])
