"""startagent: what it makes runs as it is."""

import os
import subprocess
import sys
from pathlib import Path

import pytest
from django.core.management.base import CommandError

from tests.commands.conftest import asked, said
from tests.docs.pages import ROOT


def test_what_it_makes_passes_its_own_test_and_can_be_submitted(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
):
    monkeypatch.chdir(tmp_path)
    text = said("startagent", "my_agent")

    assert "./dev manage submit my_agent --input" in text
    environment = os.environ | {
        "AETHERIS_APPS": "my_agent", "PYTHONPATH": f"{tmp_path}:{ROOT}", "DJANGO_SETTINGS_MODULE": "my_settings",
    }  # fmt: skip
    # A database name of its own: this run's test database is in use.
    (tmp_path / "my_settings.py").write_text(
        "from aetheris_project.settings import *\n"
        "DATABASES['default']['TEST'] = {'NAME': 'test_startagent'}\n"
    )
    tested = subprocess.run(
        [sys.executable, str(ROOT / "manage.py"), "test", "my_agent", "--noinput"],
        cwd=tmp_path,
        env=environment,
        capture_output=True,
        text=True,
    )
    assert tested.returncode == 0, tested.stderr
    assert "Ran 1 test" in tested.stderr


def test_it_overwrites_nothing(tmp_path: Path, monkeypatch: pytest.MonkeyPatch):
    monkeypatch.chdir(tmp_path)
    said("startagent", "mine", "--directory", "agents/mine")
    (tmp_path / "agents" / "mine" / "agents.py").write_text("# changed")

    with pytest.raises(CommandError, match="already exists"):
        said("startagent", "mine", "--directory", "agents/mine")
    assert (tmp_path / "agents" / "mine" / "agents.py").read_text() == "# changed"


@pytest.mark.parametrize("name", ["no-name", "1st", "tools", "runtime", "class"])
def test_a_name_must_be_one_that_can_be_imported_and_is_free(
    name: str, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
):
    monkeypatch.chdir(tmp_path)

    with pytest.raises(CommandError):
        asked("startagent", name)
    assert not (tmp_path / name / "agents.py").exists()
