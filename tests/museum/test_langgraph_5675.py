"""LangGraph (#5675): the connection of the saver was gone after a long model call, and the answer was lost."""

from django.db import connection

from tests.engine.driving import calling, run_once, submit


def test_the_answer_of_a_long_call_is_recorded_though_every_connection_died_meanwhile(worker, outside):
    def long():
        with connection.cursor() as cursor:
            cursor.execute("SELECT pg_backend_pid()")
            pid = cursor.fetchone()[0]
        other = connection.copy()
        with other.cursor() as cursor:
            cursor.execute("SELECT pg_terminate_backend(%s)", [pid])
        other.close()
        return {"charged": 9}

    outside.after["charge"].append(long)
    job = submit(calling("charge"))
    run_once(job, worker)
    assert (job.status, job.result, len(outside.effects("charge"))) == ("completed", {"charged": 9}, 1)


def test_no_transaction_is_open_while_a_call_is_made(worker, outside):
    job = submit(calling("charge"))
    outside.after["charge"].append(lambda: {"open": connection.in_atomic_block})
    run_once(job, worker)
    assert job.result == {"open": False}
