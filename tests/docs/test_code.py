"""The code in documents runs.

Python blocks of a page run in order, in one namespace; one with a title is written to that file and imported, as
an installed app's would be. After each block a worker runs what is ready. JSON that has nodes is checked as a
TaskGraph. Of shell blocks the commands are checked; those marked `run` are given to `manage.py` as they stand.
"""

from __future__ import annotations

import importlib.util
import json
import re
import shlex
import sys
import threading
import time
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from io import StringIO
from pathlib import Path
from typing import Any

import httpx
import pytest
from django.contrib.auth.models import User
from django.core.management import call_command, get_commands, load_command_class
from django.db import connection
from django.urls import resolve
from rest_framework.authtoken.models import Token

import tools.registry
from runtime import agents, doctor
from runtime.api.views.catalog import Nowhere
from runtime.execution import run_step
from runtime.graph import TaskGraph
from runtime.incarnation import Incarnation
from runtime.models import Step
from runtime.nodes import registry as kinds
from tests.docs.pages import ROOT, Block, Page, page, pages

LANGUAGES = {"python", "json", "sh", "text", "yaml", "sql", "ini"}
PATIENCE_SECONDS = 20.0
STACK = "http://localhost:8000"
TARGETS = set(re.findall(r"^([a-z-]+):", (ROOT / "Makefile").read_text(), re.MULTILINE))
OF_THE_SYSTEM = {
    "cd", "git", "export", "cp", "mkdir", "docker", "celery", "for", "kill", "pip", ".ci/run",
    ".venv/bin/pytest", ".venv/bin/ruff", ".venv/bin/mypy", ".venv/bin/lint-imports",
}  # fmt: skip


def all_blocks(*languages: str) -> list[Block]:
    return [block for page in pages() for block in page.blocks if block.language in languages]


def place(value: Any) -> str:
    return value.place if isinstance(value, Block) else str(getattr(value, "name", value))


@pytest.fixture
def registries() -> Iterator[None]:
    """What a page declares is forgotten after it."""
    known: list[dict[Any, Any]] = [
        tools.registry._tools,
        agents._agents,
        agents._versions,
        agents._functions,
        kinds._kinds,
    ]
    kept = [dict(registry) for registry in known]
    yield
    for registry, before in zip(known, kept, strict=True):
        registry.clear()
        registry.update(before)


@pytest.fixture
def worker(transactional_db: None) -> Iterator[Incarnation]:
    worker = Incarnation(name="documents")
    worker.start()
    yield worker
    worker.stop()


@pytest.fixture
def files(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Iterator[Callable[[Block], None]]:
    """Writes a titled block where its title says, below a directory on the path, and imports it."""
    monkeypatch.syspath_prepend(str(tmp_path))
    monkeypatch.chdir(tmp_path)
    modules = set(sys.modules)

    def install(block: Block) -> None:
        file = tmp_path / block.title
        file.parent.mkdir(parents=True, exist_ok=True)
        for folder in [file.parent, *file.parent.parents]:
            if folder == tmp_path:
                break
            (folder / "__init__.py").touch()
        file.write_text("\n" * block.line + block.text)
        if file.suffix == ".py":
            importlib.invalidate_caches()
            importlib.import_module(".".join(Path(block.title).with_suffix("").parts))

    yield install
    for name in set(sys.modules) - modules:
        if str(tmp_path) in (getattr(sys.modules[name], "__file__", None) or ""):
            del sys.modules[name]


@pytest.mark.parametrize("document", [page for page in pages() if page.blocks], ids=place)
def test_every_block_says_what_it_is(document: Page) -> None:
    for block in document.blocks:
        assert block.language in LANGUAGES, f"{block.place} is of language {block.language!r}"


@pytest.mark.django_db(transaction=True)
@pytest.mark.parametrize(
    "document", [page for page in pages() if any(block.runs for block in page.blocks)], ids=place
)
def test_the_code_of_a_page_runs(
    document: Page,
    files: Callable[[Block], None],
    registries: None,
    worker: Incarnation,
    live_server: Any,
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    ada = User.objects.create_superuser("ada", password="documented")
    monkeypatch.setenv("AETHERIS_TOKEN", Token.objects.create(user=ada).key)
    namespace: dict[str, Any] = {"__name__": "documented"}
    for block in document.blocks:
        if block.language == "python" and block.title:
            files(block)
        elif block.language == "python":
            text = block.text.replace(STACK, live_server.url)
            with _working(worker):
                exec(compile("\n" * block.line + text, ROOT / block.page, "exec"), namespace)
        elif block.runs:
            for command in _lines(block):
                _manage(command, worker)
    assert doctor.examine() == []
    for value in namespace.values():
        if isinstance(value, httpx.Client):
            value.close()


@pytest.mark.parametrize("block", [block for block in page("README.md").blocks if block.title], ids=place)
def test_startagent_makes_the_agent_of_the_readme(block: Block) -> None:
    template = ROOT / "runtime" / "management" / "agent_template" / f"{Path(block.title).name}-tpl"
    assert block.text in template.read_text().replace("{{ app_name }}", "hello")


@pytest.mark.parametrize("block", all_blocks("json"), ids=place)
def test_json_is_json_and_graphs_are_graphs(block: Block) -> None:
    value = json.loads(block.text)
    if isinstance(value, dict) and "nodes" in value:
        TaskGraph.parse(value)


@pytest.mark.parametrize("block", all_blocks("sh"), ids=place)
def test_commands_exist_with_the_options_that_are_shown(block: Block) -> None:
    for line in _lines(block):
        words = [word for word in shlex.split(line) if not re.match(r"[A-Z_]+=", word)]
        match words:
            case []:
                continue
            case ["make", *targets]:
                assert set(targets) <= TARGETS, line
            case (
                ["./dev", "manage", *rest]
                | [".venv/bin/python" | "python", "manage.py", *rest]
                | ["manage.py", *rest]
            ):
                _look_at_command(rest, line)
            case [".venv/bin/python", "-m", module, *_]:
                assert importlib.util.find_spec(module), line
            case ["./dev", target, *_]:
                assert f"\n{target})" in (ROOT / "dev").read_text() or target in TARGETS, line
            case ["curl", *rest]:
                for url in (word for word in rest if word.startswith(STACK)):
                    view = resolve(url.removeprefix(STACK).partition("?")[0]).func
                    assert getattr(view, "cls", None) is not Nowhere, line
            case [program, *_]:
                assert program in OF_THE_SYSTEM, f"{block.place}: {line}"


@pytest.mark.parametrize("document", pages(), ids=place)
def test_commands_that_the_text_names_exist(document: Page) -> None:
    for name in re.findall(r"`(?:\./dev manage|manage\.py) ([a-z_]+)", document.prose):
        assert name in get_commands(), f"{document.name} names manage.py {name}"


def _look_at_command(words: list[str], line: str) -> None:
    name, *rest = words
    assert name in get_commands(), line
    command = load_command_class(str(get_commands()[name]), name)
    known = command.create_parser("manage.py", name)._option_string_actions
    for option in (word.partition("=")[0] for word in rest if word.startswith("--")):
        assert option in known, f"{line}: manage.py {name} has no {option}"


def _lines(block: Block) -> list[str]:
    """The commands of a block: without comments and prompts, continued lines joined."""
    text = block.text.replace("\\\n", " ")
    lines = [re.sub(r"\s+# .*$", "", line).removeprefix("$ ").strip() for line in text.splitlines()]
    return [line for line in lines if line and not line.startswith("#")]


def _manage(line: str, worker: Incarnation) -> None:
    words = [word for word in shlex.split(line) if not re.match(r"[A-Z_]+=", word)]
    assert words[:2] == ["./dev", "manage"], f"only ./dev manage can be run: {line}"
    with _working(worker):
        call_command(*words[2:], stdout=StringIO())


def _drive(worker: Incarnation) -> None:
    """Runs what is ready, and what will be after a short pause."""
    give_up = time.monotonic() + PATIENCE_SECONDS
    while Step.objects.filter(status="ready").exists() and time.monotonic() < give_up:
        for step_id in Step.objects.ready().values_list("id", flat=True):
            run_step(step_id, worker)
        time.sleep(0.01)


@contextmanager
def _working(worker: Incarnation) -> Iterator[None]:
    """A worker beside the command, as in a running stack."""
    ending = threading.Event()

    def work() -> None:
        while not ending.wait(0.02):
            _drive(worker)
        connection.close()

    thread = threading.Thread(target=work)
    thread.start()
    try:
        yield
    finally:
        ending.set()
        thread.join()
        _drive(worker)
