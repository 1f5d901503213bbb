"""docs/nodes.md names every kind, its keys and its ways out, and its example of a kind keeps the contract."""

import importlib
import sys
from collections import Counter
from collections.abc import Iterator
from pathlib import Path

import pytest
from django.core.management import call_command

import tools.registry
from runtime import nodes
from runtime.graph.kinds import SHAPES, outcomes
from runtime.nodes import registry
from runtime.testing import KindCase, check_node_kind, fire_timers
from tests.docs.pages import codes, page

PAGE = page("docs/nodes.md")
ROWS = {row[0].strip("`"): row for row in PAGE.rows(under="Node kinds") if len(row) == 4}


def test_every_kind_has_its_row_and_a_heading():
    assert set(ROWS) == set(SHAPES)
    headings = [line.removeprefix("## ") for line in PAGE.prose.splitlines() if line.startswith("## ")]
    assert set(SHAPES) <= {name for heading in headings for name in heading.split(", ")}


@pytest.mark.parametrize("kind", SHAPES)
def test_a_kinds_row_has_its_keys_and_ways_out(kind):
    shape = SHAPES[kind]
    assert set(codes(ROWS[kind][2])) == {*shape.required, *shape.optional}
    assert set(codes(ROWS[kind][3])) == outcomes(kind, nodes.registered())


@pytest.fixture
def example(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Iterator[None]:
    """The page's own kind, installed; forgotten afterwards."""
    kinds, known = dict(registry._kinds), dict(tools.registry._tools)
    monkeypatch.syspath_prepend(str(tmp_path))
    (tmp_path / "polling").mkdir()
    (tmp_path / "polling" / "__init__.py").touch()
    for block in PAGE.blocks:
        if block.title.startswith("polling/"):
            (tmp_path / block.title).write_text(block.text)
    for name in ("tools", "nodes", "test_nodes"):
        importlib.import_module(f"polling.{name}")
    yield
    registry._kinds.clear()
    registry._kinds.update(kinds)
    tools.registry._tools.clear()
    tools.registry._tools.update(known)
    for name in [name for name in sys.modules if name.partition(".")[0] == "polling"]:
        del sys.modules[name]


def test_the_pages_own_test_of_its_kind_passes(example):
    sys.modules["polling.test_nodes"].PollTest("test_it_keeps_what_every_kind_promises").debug()


def test_the_pages_kind_keeps_the_contract_when_it_has_to_wait(example):
    asked: Counter[tuple[str, str]] = Counter()

    @tools.tool(read_only=True)
    def polling_twice(context: tools.ToolContext) -> str:
        """Done when it is asked again."""
        asked[context.job_id, context.step] += 1
        return "done" if asked[context.job_id, context.step] > 1 else "queued"

    node = {"kind": "poll", "tool": "polling_twice", "until": "done"}
    check_node_kind(KindCase(node, result="done", branch="later", wake=fire_timers))


def test_the_pages_kind_is_listed(example, capsys):
    call_command("nodes")
    assert "asks a tool, every so often" in capsys.readouterr().out
