"""Steps that require what only some workers have, and the queues and priorities of jobs, agents and nodes."""

import pytest

from runtime import agents, figures, leases, queues, recovery
from runtime.exceptions import InputInvalid, LeaseUnavailable
from runtime.execution import run_step
from runtime.graph import Graph, GraphInvalid
from runtime.models import Job, Step
from runtime.recovery import Sweeper
from tests.engine.driving import StillWorker, doing, drive, statuses, step_of, submit
from tests.engine.scoped import mapping


@pytest.fixture
def able(outside):
    """A worker with a graphics card."""
    able = StillWorker(name="able", capabilities=("cuda", "gpu"))
    able.start()
    yield able
    able.stop()


def rendering(requires=("gpu",), **keys):
    graph = Graph()
    first = graph.function("first", "say")
    first >> graph.function("render", "say", value="film", requires=list(requires), **keys)
    return graph


@pytest.fixture
def registered():
    """Agents of one test."""
    known = dict(agents._agents)
    yield agents.agent
    agents._agents.clear()
    agents._agents.update(known)


# Claims


def test_a_step_is_claimed_only_by_a_worker_that_has_all_that_it_requires(worker, able):
    job = submit(rendering())
    assert statuses(drive(job, worker, rounds=3)) == {"first": "completed", "render": "ready"}
    assert run_step(step_of(job, "render").pk, worker) == 0
    assert run_step(step_of(job, "render").pk, able) == 1
    job.refresh_from_db()
    assert (job.status, job.result) == ("completed", "film")


def test_some_of_it_is_not_enough(able):
    job = submit(rendering(["gpu", "tpu"]))
    drive(job, able, rounds=3)
    assert statuses(job)["render"] == "ready"


def test_a_worker_that_goes_on_with_a_job_takes_the_sibling_that_it_can_run(worker, able):
    graph = Graph()
    first = graph.function("first", "say")
    first >> graph.function("render", "say", requires=["gpu"], priority=9)
    first >> graph.function("plain", "say")
    job = submit(graph)
    assert run_step(step_of(job, "first").pk, worker) == 2
    assert statuses(job) == {"first": "completed", "render": "ready", "plain": "completed"}
    assert drive(job, able).status == "completed"


def test_each_copy_of_a_map_requires_what_its_node_says(worker, able):
    inner = Graph()
    inner.function("frame", "say", requires=["gpu"])
    job = drive(submit(mapping(inner), [1, 2]), worker, rounds=3)
    assert list(job.steps.filter(requires=["gpu"]).values_list("status", flat=True)) == ["ready", "ready"]
    assert drive(job, able).status == "completed"


NO_NAME = "is no capability"


@pytest.mark.parametrize(
    "requires, told", [("gpu", "must be a list"), (["GPU"], NO_NAME), (["a+b"], NO_NAME), ([1], NO_NAME)]
)
def test_a_requirement_that_is_no_name_is_refused_with_its_place(requires, told):
    with pytest.raises(GraphInvalid, match=rf"nodes\[1\].requires.*{told}"):
        graph = Graph()
        graph.function("a", "say")
        graph.function("b", "say", requires=requires)
        submit(graph)


# How they are announced


def test_a_step_is_announced_to_living_workers_that_can_run_it(able):
    assert queues.reach(["default", "default+gpu", "default+tpu", "heavy+gpu"]) == {
        "default": "default",
        "default+gpu": "default+cuda+gpu",
        "default+tpu": None,
        "heavy+gpu": None,
    }


def test_a_worker_that_is_silent_or_drains_is_not_reached(able, clock):
    able.drain()
    able.beat()
    assert queues.reach(["default+gpu"]) == {"default+gpu": None}


def test_a_worker_listens_to_its_queues_and_beside_each_to_what_it_alone_can_run(settings):
    assert queues.listened(["realtime", "default"]) == ["realtime", "default"]
    settings.AETHERIS = {**settings.AETHERIS, "CAPABILITIES": ("gpu", "cuda")}
    assert queues.listened(["realtime", "default"]) == [
        "realtime", "realtime+cuda+gpu", "default", "default+cuda+gpu",
    ]  # fmt: skip
    settings.AETHERIS = {**settings.AETHERIS, "CAPABILITIES": ("G P U",)}
    with pytest.raises(InputInvalid, match="is no capability"):
        queues.listened(["default"])


def test_when_a_step_is_released_it_is_announced_where_it_can_run(able, worker, monkeypatch):
    told = []
    monkeypatch.setattr("runtime.dispatch.hint", lambda hints: told.extend(hints))
    job = submit(rendering())
    run_step(step_of(job, "first").pk, worker)
    assert told == [(step_of(job, "first").pk, "default"), (step_of(job, "render").pk, "default+cuda+gpu")]


def test_steps_that_nobody_can_run_do_not_keep_the_sweeper_from_announcing_others(worker, clock, monkeypatch):
    told: list[tuple[int, str]] = []

    def hint(hints):
        told.extend(hints)
        return True

    monkeypatch.setattr("runtime.dispatch.hint", hint)
    monkeypatch.setattr(recovery, "BATCH", 2)
    for _ in range(3):
        submit(doing(lambda context: 1, requires=["gpu"]))
    plain = submit(doing(lambda context: 1))
    clock.forward(minutes=5)
    told.clear()
    assert Sweeper(worker)._hint_ready() == (1, 0)
    assert told == [(step_of(plain).pk, "default")]


def test_the_sweeper_runs_by_itself_only_what_it_can(clock, monkeypatch):
    monkeypatch.setattr(leases, "queue_depths", _away)
    monkeypatch.setattr("runtime.dispatch.hint", lambda hints: False)
    sweeper = Sweeper(StillWorker(role="sweeper", threads=4))
    ran: list[int] = []
    monkeypatch.setattr(sweeper, "_run", ran.append)
    submit(doing(lambda context: 1, requires=["gpu"]))
    plain = submit(doing(lambda context: 1))
    clock.forward(minutes=5)
    assert sweeper._hint_ready() == (0, 1)
    assert sweeper._pool is not None
    sweeper._pool.shutdown()
    assert ran == [step_of(plain).pk]


def _away(*arguments):
    raise LeaseUnavailable("away")


def test_ready_steps_that_no_living_worker_can_run_are_named(worker, clock):
    submit(doing(lambda context: 1))
    [submit(doing(lambda context: 1, requires=["gpu"])) for _ in range(2)]
    submit(doing(lambda context: 1, queue="heavy"))
    assert [(one.queue, one.requires, one.steps) for one in figures.unserved()] == [
        ("default", ["gpu"], 2), ("heavy", [], 1),
    ]  # fmt: skip
    clock.forward(minutes=1)
    assert [one.queue for one in figures.unserved()] == ["default", "default", "heavy"]


# Who says what


def test_a_step_goes_where_its_node_says_else_the_request_else_the_agent(registered):
    @registered("placed", queue="background", priority=-5, requires=["gpu"])
    def placed():
        graph = Graph()
        graph.function("plain", "say")
        graph.function("own", "say", queue="default", priority=0, requires=[])
        return graph

    def places(job):
        return {s.key: (s.queue, s.priority, s.requires) for s in Step.objects.filter(job=job)}

    assert places(Job.objects.submit("placed")) == {
        "plain": ("background", -5, ["gpu"]),
        "own": ("default", 0, []),
    }
    said = Job.objects.submit("placed", queue="realtime", priority=0)
    assert places(said) == {"plain": ("realtime", 0, ["gpu"]), "own": ("default", 0, [])}


def test_a_queue_that_does_not_exist_is_refused_and_the_known_ones_are_named(registered):
    with pytest.raises(InputInvalid, match="known: realtime, default, background, heavy"):
        Job.objects.submit("echo", queue="urgent")
    with pytest.raises(GraphInvalid, match=r"nodes\[0\].queue.*unknown queue 'urgent'"):
        submit(doing(lambda context: 1, queue="urgent"))
    registered("lost", queue="urgent")(lambda: doing(lambda context: 1))
    with pytest.raises(InputInvalid, match="queue of agent 'lost'"):
        Job.objects.submit("lost")
    with pytest.raises(InputInvalid, match="requires of agent 'odd'"):
        registered("odd", requires=["G P U"])


def test_a_fork_requires_what_its_origin_does(registered, able):
    @registered("film", requires=["gpu"])
    def film():
        graph = Graph()
        graph.function("a", "say") >> graph.function("b", "say")
        return graph

    job = drive(Job.objects.submit("film"), able)
    assert [step.requires for step in job.fork("b").steps.all()] == [["gpu"], ["gpu"]]
