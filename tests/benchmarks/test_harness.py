"""The benchmark still runs, counts every step, and reports; how fast anything is, it does not say."""

import subprocess

import pytest

from benchmarks import environments, report
from benchmarks.__main__ import installed
from benchmarks.catalog import CATALOG
from benchmarks.report import Row
from benchmarks.rounds import measure
from benchmarks.servers import Servers
from benchmarks.witness import Line
from benchmarks.workloads import HEADLINES, TINY, WORKLOADS, NotOnce, assert_once, orders_of
from tests import services

ABOUT = {
    "machine": {
        "date": "2026-01-02",
        "processor": "P",
        "cores": 2,
        "memory_gb": 4,
        "load_before": 0.0,
        "revision": "abc",
    },
    "command": "python -m benchmarks",
    "rounds": 2,
    "postgres": {"fsync": "on"},
    "systems": [{"title": "Aetheris", "versions": {"django": "5"}, "settings": "defaults"}],
}


def test_ours_and_a_bare_loop_do_every_step_once_and_are_measured(servers: services.Servers):
    if servers.postgres is None or servers.valkey is None:
        pytest.skip("the benchmark runs on servers of its own")
    running = Servers(services.slot(), servers.postgres, servers.valkey)
    rows = [
        row
        for name in ("psycopg", "aetheris")
        for row in measure(CATALOG[name], running, ["W1", "W1t"], TINY, 0, workers=1)
    ]

    assert [(row.system, row.workload, row.missing) for row in rows] == [
        ("psycopg", "W1", ""),
        ("psycopg", "W1t", ""),
        ("aetheris", "W1", ""),
        ("aetheris", "W1t", ""),
    ]
    for row in rows:
        assert row.figures["steps_per_s"] > 0
        assert row.figures["commits"] >= 1
        assert row.figures["wal_bytes"] > 100


def test_a_step_that_ran_twice_or_not_at_all_spoils_the_figures():
    orders = orders_of("chain", 2)
    once = [Line(1, 1, orders[0].name, 0), Line(2, 1, orders[0].name, 1)]

    assert_once(orders, [2], once)
    for lines, results in [(once[:1], [2]), ([*once, once[0]], [2]), (once, [1])]:
        with pytest.raises(NotOnce):
            assert_once(orders, results, lines)


def test_a_report_has_medians_ratios_and_rounds_won_and_says_why_something_is_missing():
    rows = [
        Row(0, "aetheris", "W1", {"steps_per_s": 100.0, "cpu_ms": 1.0}),
        Row(1, "aetheris", "W1", {"steps_per_s": 300.0, "cpu_ms": 1.0}),
        Row(0, "psycopg", "W1", {"steps_per_s": 400.0, "cpu_ms": 0.3}),
        Row(1, "psycopg", "W1", {"steps_per_s": 400.0, "cpu_ms": 0.3}),
        Row(0, "celery", "W1", {"steps_per_s": 200.0, "cpu_ms": 2.0}),
        Row(1, "celery", "W1", {"steps_per_s": 200.0, "cpu_ms": 2.0}),
        Row(0, "celery", "W7", {}, "no signals"),
    ]

    summary = report.summary(rows)

    ours = summary["W1"]["aetheris"]["steps_per_s"]
    assert (ours["median"], ours["min"], ours["max"]) == (200.0, 100.0, 300.0)
    assert (ours["to_floor"], ours["won"]) == (0.5, 1)
    assert summary["W1"]["celery"]["steps_per_s"]["to_ours"] == 1.0
    text = report.markdown(summary, ABOUT, rows)
    assert "| aetheris | 200 | 100 – 300 | 1 | 0.5 | 1 | 1 |" in text
    assert "no signals" in text


def test_a_system_that_cannot_be_installed_is_left_out_with_a_word(monkeypatch, tmp_path, capsys):
    def refuse(command, **options):
        raise subprocess.CalledProcessError(1, command, stderr="Looking …\nNo network here.\n")

    monkeypatch.setattr(environments, "ROOT", tmp_path)
    monkeypatch.setattr(subprocess, "run", refuse)

    assert installed([CATALOG["dbos"], CATALOG["aetheris"]]) == [CATALOG["aetheris"]]
    assert "DBOS cannot be installed here and is left out: No network here." in capsys.readouterr().err


@pytest.mark.parametrize("system", CATALOG.values(), ids=list(CATALOG))
def test_every_system_says_how_it_is_set_and_pins_what_it_needs(system):
    assert len(system.settings) > 50
    if system.own_environment:
        lines = system.requirements.read_text().splitlines()
        assert all("==" in line for line in lines if not line.startswith("#"))
    assert system.lacks.keys() <= WORKLOADS.keys() == HEADLINES.keys()
