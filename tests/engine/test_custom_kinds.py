"""Kinds of one's own: found in apps and in installed packages, listed, checked, and run like the built-in ones."""

import importlib
import sys
from collections.abc import Callable, Iterable, Iterator, Mapping
from io import StringIO
from itertools import count
from pathlib import Path
from typing import Any

import pytest
from django.core.management import call_command
from django.utils.module_loading import autodiscover_modules

from runtime import agents, nodes, scopes
from runtime.exceptions import KindRefused
from runtime.graph import Graph, GraphInvalid, Problem
from runtime.models import Step
from runtime.nodes import Node, registry
from runtime.outcomes import Completed, Expand, Failed, Outcome, Retry, Waiting
from runtime.testing import BrokenPromise, KindCase, check_node_kind
from tests.engine.driving import statuses, step_of, submit, told, why


class Pick(Node):
    """`pick`: one of several inputs, by the number in `which`."""

    kind = "pick"
    outcomes = ("first", "later")
    literals = frozenset({"note"})

    def validate(self, config: Mapping[str, Any]) -> Iterable[Problem]:
        if "which" not in config.get("inputs", {}):
            yield Problem("inputs.which", "missing_key", "a pick needs the input 'which'")

    def run(self, step: Step, context: Any) -> Outcome:
        inputs = context.evaluate(step.config["inputs"])
        which = inputs["which"]
        return Completed(inputs["among"][which], branch="later" if which else "first")


@pytest.fixture(autouse=True)
def kinds() -> Iterator[dict[str, Node]]:
    """What a test registers is forgotten after it."""
    before = dict(registry._kinds)
    yield registry._kinds
    registry._kinds.clear()
    registry._kinds.update(before)


@pytest.fixture
def pick() -> Node:
    return nodes.register(Pick())


def picking(**keys: Any) -> Graph:
    graph = Graph()
    node = graph.node("it", "pick", inputs={"among": ["red", "green"], "which": "${input}"}, **keys)
    node.when("first") >> graph.function("first", "say", value="the first")
    node.when("later") >> graph.function("later", "say", value="${it}")
    return graph


# Registering


def test_a_kind_runs_and_is_left_by_its_outcomes(pick, drive):
    job = drive(submit(picking(), 1))
    assert statuses(job) == {"it": "completed", "first": "skipped", "later": "completed"}
    assert step_of(job, "later").result == "green"


def test_a_kind_names_its_own_faults_at_submit(pick):
    graph = Graph()
    graph.node("it", "pick", inputs={"among": []})
    with pytest.raises(GraphInvalid) as refused:
        submit(graph)
    assert [problem.path for problem in refused.value.problems] == ["nodes[0].inputs.which"]


def test_an_edge_may_only_name_an_outcome_of_its_kind(pick):
    graph = picking()
    graph.handle("it").when("never") >> graph.function("never", "say")
    with pytest.raises(GraphInvalid, match="never"):
        submit(graph, 1)


def test_what_a_kind_calls_literal_is_no_expression(pick, drive):
    assert drive(submit(picking(note="${nobody}"), 0)).status == "completed"
    with pytest.raises(GraphInvalid, match="nobody"):
        submit(picking(other="${nobody}"), 0)


def test_a_kind_that_nobody_knows_is_refused_with_the_known_ones():
    with pytest.raises(GraphInvalid) as refused:
        submit(picking(), 1)
    assert refused.value.problems[0].code == "unknown_kind"
    assert "approval" in refused.value.problems[0].hint


def test_a_kind_that_is_gone_when_its_step_runs_is_tried_again_later(pick, kinds, drive, clock):
    job = submit(picking(), 1)
    del kinds["pick"]
    drive(job)
    assert (step_of(job, "it").status, step_of(job, "it").failures) == ("ready", 1)
    nodes.register(Pick())
    clock.forward(minutes=5)
    assert drive(job).status == "completed"


def test_kinds_are_listed_with_what_they_say_of_themselves(pick):
    out = StringIO()
    call_command("nodes", stdout=out)
    assert "one of several inputs" in out.getvalue()


def test_a_kind_may_be_registered_twice_and_its_name_only_once(pick):
    nodes.register(Pick())

    class Other(Pick):
        pass

    with pytest.raises(KindRefused, match="bears the name of .*Pick"):
        nodes.register(Other())


def test_a_kind_cannot_take_the_name_of_a_built_in_one():
    class Tool(Pick):
        kind = "tool"

    with pytest.raises(KindRefused, match="'tool'"):
        nodes.register(Tool())
    assert type(nodes.get("tool")).__name__ == "ToolNode"


@pytest.mark.parametrize("name", ["", "Pick", "two words", "a" * 51, "1st", None, 5])
def test_a_kind_needs_a_name_that_a_row_and_a_graph_can_hold(name):
    class Named(Pick):
        kind = name

    with pytest.raises(KindRefused, match="small letters"):
        nodes.register(Named())


@pytest.mark.parametrize("thing", [None, "pick", Pick, object()])
def test_what_is_no_kind_is_refused(thing):
    with pytest.raises(KindRefused, match="no node kind"):
        nodes.register(thing)


# Found in apps and packages


MODULE = """
from runtime.nodes import Node, register
from runtime.outcomes import Completed

class Shout(Node):
    '''`shout`: the input in capitals.'''
    kind = "shout"

    def run(self, step, context):
        return Completed(context.input.upper())
"""

Install = Callable[..., None]


@pytest.fixture
def install(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Iterator[Install]:
    """Puts a package onto the path, as an installer would: its module, its name, its entry points."""
    monkeypatch.syspath_prepend(str(tmp_path))
    modules = set(sys.modules)

    def install(module: str, text: str = MODULE, *, points: Mapping[str, str] | None = None) -> None:
        (tmp_path / f"{module}.py").write_text(text)
        info = tmp_path / f"{module}-1.0.dist-info"
        info.mkdir()
        (info / "METADATA").write_text(f"Metadata-Version: 2.1\nName: {module}\nVersion: 1.0\n")
        lines = [f"{name} = {value}" for name, value in (points or {}).items()]
        (info / "entry_points.txt").write_text("\n".join(["[aetheris.nodes]", *lines, ""]))
        importlib.invalidate_caches()

    yield install
    for name in set(sys.modules) - modules:
        if str(tmp_path) in (getattr(sys.modules[name], "__file__", None) or ""):
            del sys.modules[name]


def shouting() -> Graph:
    graph = Graph()
    graph.node("it", "shout")
    return graph


@pytest.mark.parametrize("value", ["loud:Shout", "loud:shout"], ids=["class", "object"])
def test_a_kind_of_an_installed_package_is_found_by_its_entry_point(value, install, drive):
    install("loud", MODULE + "shout = Shout()\n", points={"shout": value})
    nodes.discover()
    assert drive(submit(shouting(), "hello")).result == "HELLO"


def test_finding_kinds_twice_is_finding_them_once(install):
    install("loud", points={"shout": "loud:Shout"})
    nodes.discover()
    nodes.discover()
    assert "shout" in nodes.registered()


def test_a_kind_in_nodes_py_of_an_app_is_found(tmp_path, install, drive, settings):
    (tmp_path / "loud_app").mkdir()
    (tmp_path / "loud_app" / "__init__.py").touch()
    (tmp_path / "loud_app" / "nodes.py").write_text(MODULE + "register(Shout())\n")
    settings.INSTALLED_APPS = [*settings.INSTALLED_APPS, "loud_app"]
    autodiscover_modules("nodes")
    assert drive(submit(shouting(), "hello")).result == "HELLO"


@pytest.mark.parametrize(
    "text, value, told",
    [
        ("import nothing_of_this_name", "loud:Shout", "ModuleNotFoundError"),
        ("raise RuntimeError('broken inside')", "loud:Shout", "broken inside"),
        (MODULE, "loud:Whisper", "Whisper"),
        (MODULE + "class Half(Node): kind = 'half'\n", "loud:Half", "abstract"),
        (MODULE + "shout = 5\n", "loud:shout", "no node kind"),
        (MODULE + "class Tool(Shout): kind = 'tool'\n", "loud:Tool", "bears the name"),
    ],
)
def test_a_package_whose_kind_cannot_be_had_is_refused_and_named(text, value, told, install):
    install("loud", text, points={"shout": value})
    with pytest.raises(KindRefused, match=told) as refused:
        nodes.discover()
    assert "loud" in str(refused.value)


# What a kind may answer


class Free(Node):
    """`free`: does what the test says."""

    kind = "free"
    outcomes = ("here",)
    does: Callable[[Any, Any], Any]

    def run(self, step: Step, context: Any) -> Outcome:
        return type(self).does(step, context)  # type: ignore[no-any-return]


def free(function: Callable[[Any, Any], Any]) -> Graph:
    Free.does = staticmethod(function)
    nodes.register(Free())
    graph = Graph()
    graph.node("it", "free", retry={"max_attempts": 1})
    return graph


@pytest.mark.parametrize("answer", [None, 5, "done", {"result": 1}, Completed, NotImplemented])
def test_a_kind_that_answers_no_outcome_fails_its_step_and_is_told_so(answer, drive):
    job = drive(submit(free(lambda step, context: answer)))
    assert (job.status, step_of(job).attempt) == ("failed", 1)
    assert "run` answers one of the outcomes" in why(job)["message"]


@pytest.mark.parametrize(
    "outcome",
    [
        Completed({1, 2}), Completed(1, branch="b" * 101), Failed({"at": object()}), Retry("text"),  # type: ignore[arg-type]
        Waiting(kind="a kind beyond ten characters", name="x"), Waiting(kind="signal", name=""),
        Waiting(kind="signal", name="x" * 256), Waiting(kind="signal", name="go", schema={"a": {1}}),
    ],
    ids=str,
)  # fmt: skip
def test_an_outcome_that_no_row_can_hold_fails_the_step_at_once(outcome, drive):
    job = drive(submit(free(lambda step, context: outcome)))
    assert (job.status, step_of(job).attempt) == ("failed", 1)


def test_a_kind_may_expand_into_a_graph_of_its_own(drive):
    def function(step: Any, context: Any) -> Outcome:
        if context.resume is None:
            inner = Graph()
            inner.function("s", "say", value="${name}")
            graph = agents.parse(inner.build(), outer={"name"})
            return Expand(graph, [{"name": name} for name in ("a", "b")], max_parallel=1)
        return Completed([ended.result for ended in scopes.ended(step, context)])

    job = drive(submit(free(function)))
    assert (job.result, told(job).count("plan_recorded")) == (["a", "b"], 2)


def test_a_kind_that_expands_into_nothing_fails_at_once(drive):
    inner = Graph()
    inner.function("s", "say")
    graph = agents.parse(inner.build())
    job = drive(submit(free(lambda step, context: Expand(graph, []))))
    assert (job.status, job.steps.count()) == ("failed", 1)
    assert "no copy at all" in why(job)["message"]


# The contract suite finds what breaks it


def broken(function: Callable[[Any, Any], Any], **keys: Any) -> str:
    free(function)
    with pytest.raises(BrokenPromise) as told:
        check_node_kind(KindCase({"kind": "free"}, **keys))
    return str(told.value)


def test_a_good_kind_passes(pick):
    node = {"kind": "pick", "inputs": {"among": ["red", "green"], "which": "${input}"}}
    check_node_kind(
        KindCase(node, input=1, result="green", branch="later", invalid=[{}, {"inputs": {"among": []}}])
    )


def test_a_kind_that_answers_something_else_is_found():
    assert "gives 5, not 6" in broken(lambda step, context: Completed(5), result=6)


def test_a_kind_that_leaves_by_a_branch_that_it_does_not_name_is_found():
    assert "not in its outcomes" in broken(lambda step, context: Completed(branch="there"), branch="there")


def test_a_kind_that_answers_otherwise_after_a_crash_is_found():
    numbers = count()

    def function(step: Any, context: Any) -> Outcome:
        return Completed(0 if step.attempt == 1 else next(numbers) + 1)

    assert "after a crash" in broken(function, result=0)


def test_a_kind_that_calls_under_another_key_after_a_crash_is_found():
    def function(step: Any, context: Any) -> Outcome:
        context.call_tool("lookup", {"name": "x"}, call=f"try {step.attempt}")
        return Completed()

    assert "calls" in broken(function)


def test_a_kind_that_accepts_what_it_should_refuse_is_found():
    assert "accepts {'bad': 1}" in broken(lambda step, context: Completed(), invalid=[{"bad": 1}])


def test_a_kind_that_waits_for_something_that_nobody_does_is_found():
    assert "does not end" in broken(lambda step, context: Waiting("signal", "go"))


def test_a_kind_that_changes_the_config_it_looks_at_is_found(monkeypatch):
    monkeypatch.setattr(Free, "validate", lambda self, config: config.update(seen=1) or ())
    assert "changes the config" in broken(lambda step, context: Completed())
