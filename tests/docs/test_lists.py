"""Every state, setting, variable and event type is documented, and every documented one exists."""

import ast
import re
from dataclasses import MISSING, fields
from itertools import chain, product

import pytest

from runtime import conf, doctor, endings, repairs, states
from runtime.api import urls
from tests.docs.pages import ROOT, codes, page

SOURCES = [
    path
    for folder in ("runtime", "tools", "adapters", "aetheris_project", "forensics", "examples")
    for path in sorted((ROOT / folder).rglob("*.py"))
]
OF_THE_MACHINE = {"NO_PROXY", "PYTHONPATH", "DJANGO_SETTINGS_MODULE", "TMPDIR", "PATH", "HOME"}
EVENT = re.compile(
    r"(?:job|plan|step|tool|model|effect|documents|signal|approval|timer|compensation|progress|note|operator)_(?:[a-z]+ed|timed_out|unknown)"
)


def arrows(table):
    return {f"{before} → {after}" for after, allowed in table.items() for before in allowed}


def documented_arrows(heading):
    rows = page("docs/lifecycle.md").rows(under=heading)
    return {code for row in rows for code in codes(row[0]) if "→" in code}


def test_the_lifecycle_page_has_a_line_for_each_arrow_of_a_step():
    assert documented_arrows("Step") == arrows(states.STEP_ALLOWED_FROM)


def test_the_lifecycle_page_has_a_line_for_each_arrow_of_reopening_and_forking():
    told = documented_arrows("Step of a reopened job, or of a fork")
    assert told == arrows(states.STEP_REOPENED_FROM) | arrows(states.STEP_COPIED_FROM)


def test_the_lifecycle_page_tells_the_event_of_each_verb():
    told = {
        (row[0].strip("`"), codes(row[3])[0])
        for row in page("docs/lifecycle.md").rows(under="Step")
        if codes(row[3])
    }
    for arrow in states.STEP_ARROWS.values():
        for before in arrow.allowed_from:
            assert (f"{before} → {arrow.to}", arrow.event) in told


def test_the_lifecycle_page_has_a_line_for_each_arrow_of_a_ledger_entry():
    assert documented_arrows("Ledger entry") == arrows(states.ENTRY_ALLOWED_FROM)


def test_the_lifecycle_page_knows_the_states_of_jobs_and_signals():
    in_arrows = {state for arrow in documented_arrows("Job") for state in arrow.split(" → ")}
    assert in_arrows == {str(status) for status in states.JobStatus}
    assert not documented_arrows("Job") & {
        f"{end} → {any_}" for end, any_ in product(states.JOB_FINISHED, states.JobStatus)
    }
    rows = page("docs/lifecycle.md").rows(under="Signal")
    assert {row[0].strip("`") for row in rows} == {str(state) for state in states.SignalState}


def settings_of_the_code():
    return {field.name.upper(): field for field in fields(conf.Settings)}


def test_every_setting_is_documented_with_its_default():
    documented = {row[0].strip("`"): row[1] for row in page("docs/configuration.md").rows(under="AETHERIS")}
    assert documented.keys() == settings_of_the_code().keys()
    for name, field in settings_of_the_code().items():
        assert field.default is not MISSING
        assert ast.literal_eval(documented[name].strip("`")) == field.default, name


def test_every_environment_variable_is_documented():
    read = set(
        re.findall(
            r"""(?:env\.\w+\(|environ\.get\(|environ\[|getenv\()\s*"([A-Z_]{4,})""",
            "\n".join(path.read_text() for path in SOURCES),
        )
    ) | set(re.findall(r"\$\{(AETHERIS_[A-Z_]+)", (ROOT / "dev").read_text()))
    rows = page("docs/configuration.md").rows(under="Environment variables")
    documented = {code for row in rows for code in codes(row[0])}
    assert read - OF_THE_MACHINE - documented == set(), "read, but not documented"
    assert documented - read == set(), "documented, but nobody reads them"


def literals_of_the_code():
    for path in (ROOT / "runtime").rglob("*.py"):
        if "migrations" not in path.parts and "api" not in path.parts:
            for node in ast.walk(ast.parse(path.read_text())):
                if isinstance(node, ast.Constant) and isinstance(node.value, str):
                    yield node.value
    yield from re.findall(r"'([a-z_]+)'", (ROOT / "runtime/sql/turn.sql").read_text())


def test_every_event_type_is_documented():
    written = {text for text in literals_of_the_code() if EVENT.fullmatch(text)}
    rows = page("docs/design/events.md").rows(under="Types")
    documented = set(chain.from_iterable(codes(row[0]) for row in rows))
    assert documented == written


def test_every_finding_of_doctor_is_documented_as_mended_or_for_a_person():
    rows = page("docs/operations.md").rows(under="When doctor finds something")
    documented = list(chain.from_iterable(codes(row[0]) for row in rows if row[0].startswith("`")))
    asked = {question.code for question in doctor.questions()} | {"fold", "snapshot"}
    assert sorted(documented) == sorted(asked)
    assert set(documented[: len(repairs.REPAIRS)]) == set(repairs.REPAIRS)


def test_no_step_can_record_an_event_that_looks_like_one_of_the_runtimes_own():
    rows = page("docs/design/events.md").rows(under="Types")
    documented = set(chain.from_iterable(codes(row[0]) for row in rows))
    assert [name for name in documented if not name.startswith(endings.OWN_EVENTS)] == []


def test_every_address_of_the_api_is_documented():
    described = {"schema/", "docs/", "problems/{slug}"}
    served = (
        {re.sub(r"<\w+:(\w+)>", r"{\1}", str(url.pattern)) for url in urls.urlpatterns} - described - {""}
    )
    rows = page("docs/api.md").rows(under="Addresses")
    documented = {
        code.removeprefix("/").replace("{id}", "{job_id}") for row in rows for code in codes(row[1])
    }
    assert {address.replace("ledger/{entry_id}", "ledger/{job_id}") for address in served} == documented


@pytest.mark.parametrize("name", ["docs/glossary.md"])
def test_the_glossary_is_sorted_and_says_each_word_once(name):
    words = [row[0].strip("* `").lower() for row in page(name).rows()]
    assert words == sorted(set(words))


def test_every_bug_of_the_museum_has_a_test_and_every_test_its_row():
    named = [code for row in page("docs/testing.md").rows(under="Museum") for code in codes(row[2])]
    there = [str(path.relative_to(ROOT)) for path in (ROOT / "tests/museum").glob("test_*.py")]
    assert sorted(named) == sorted(there)
