"""LangGraph (#6577, #6603): a node that was resumed ran again from its top and repeated its effects."""

from runtime.outcomes import Waiting
from tests.engine.driving import doing, submit


def test_a_step_that_is_resumed_gets_what_it_did_before_the_interrupt(drive, outside):
    def asks(context):
        paid, drawn = context.tool("charge", amount=5), context.random()
        if context.resume is None:
            return Waiting(kind="signal", name="go")
        return [paid, drawn, context.resume["payload"]]

    job = drive(submit(doing(asks)))
    assert (job.status, len(outside.effects("charge"))) == ("waiting", 1)
    job.signal("go", "yes")
    paid, drawn, answer = drive(job).result
    assert (paid, answer, len(outside.effects("charge"))) == ({"charged": 5.0}, "yes", 1)
    assert drawn == job.effects.get(name="random").value
