"""A good history breaks no rule; and the checker shares nothing with what it judges."""

import ast
import json
import subprocess
import sys
from pathlib import Path

import pytest

from tests.docs.pages import codes, page
from tests.history import checker

pytestmark = pytest.mark.django_db

HERE = Path(__file__).parent
ROOT = HERE.parents[1]


def test_a_real_history_breaks_no_rule(real_history):
    assert {record["record"] for record in real_history} >= {"job", "signal", "effect", "fault", "seen"}
    assert checker.judge(map(json.dumps, real_history)) == []


def test_the_page_tells_every_field_of_every_record(real_history):
    told = {codes(row[0])[0]: {*codes(row[1])} for row in page("docs/testing.md").rows(under="Format")}
    assert {record["record"] for record in real_history} == told.keys()
    for record in real_history:
        assert record.keys() - {"record"} <= told[record["record"]], record["record"]


def test_the_checker_imports_the_standard_library_and_itself():
    for path in [HERE / "__main__.py", HERE / "__init__.py", *(HERE / "checker").rglob("*.py")]:
        for name in _imported(path):
            is_own = name.startswith("tests.history.checker")
            assert is_own or name.partition(".")[0] in sys.stdlib_module_names, f"{path} imports {name}"


def _imported(path: Path) -> list[str]:
    nodes = list(ast.walk(ast.parse(path.read_text())))
    plain = [alias.name for node in nodes if isinstance(node, ast.Import) for alias in node.names]
    return plain + [node.module or "." * node.level for node in nodes if isinstance(node, ast.ImportFrom)]


def test_the_command_reads_a_file_without_anything_installed(real_history, tmp_path):
    def said(records):
        file = tmp_path / "history.jsonl"
        file.write_text("\n".join(map(json.dumps, records)))
        command = [sys.executable, "-S", "-m", "tests.history", str(file)]
        return subprocess.run(command, cwd=ROOT, capture_output=True, text=True, timeout=180)

    good = said(real_history)
    assert (good.returncode, good.stdout, good.stderr) == (0, "", "0 violations\n")
    cut = said([record for record in real_history if record["record"] != "event" or record["seq"] != 2])
    assert (cut.returncode, cut.stdout.splitlines()[0].split(":")[0]) == (1, "gap")
