"""LangGraph (#6533, #6624): the answers to parallel interrupts went to the wrong questions."""

from runtime.graph import Graph
from tests.engine.driving import submit


def test_each_of_several_open_questions_gets_its_own_answer(drive, boss):
    graph = Graph()
    schema = {"type": "object", "properties": {"n": {"type": "integer"}}}
    for number in range(4):
        graph.approval(f"ask{number}", prompt=f"{number}?", schema=schema)
    job = drive(submit(graph))
    for number in (2, 0, 3, 1):
        job.decide(f"ask{number}", approve=number % 2 == 0, user=boss, answer={"n": number})
    drive(job)
    for number in range(4):
        step = job.steps.get(key=f"ask{number}")
        assert step.branch == ("approved" if number % 2 == 0 else "rejected")
        assert step.resume["payload"]["answer"] == {"n": number}
