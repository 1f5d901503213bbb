"""What a Celery worker of ours does differently from Celery's own."""

import os
import threading

from celery.concurrency.thread import TaskPool
from kombu.asynchronous import Hub
from kombu.asynchronous.timer import Timer

from aetheris_project.consumer import wake_when_free

FAR = 60.0
"""Seconds to the next timer: until then, but for ten seconds at most, the loop sleeps if nothing wakes it."""


def test_a_busy_worker_listens_again_as_soon_as_one_of_its_threads_is_free() -> None:
    hub, pool = Hub(timer=Timer(max_interval=FAR)), TaskPool(limit=1)
    silent, _ = os.pipe()
    hub.timer.call_after(FAR, print)
    wake_when_free(pool, hub)
    running, done, asleep = threading.Event(), threading.Event(), threading.Event()

    def work() -> None:
        running.set()
        done.wait()

    def sleep_once() -> None:
        loop = hub.create_loop()
        hub.add_reader(silent, print)  # without anything to read it does not sleep in the poller
        hub.call_soon(asleep.set)  # or nearly so: what wakes it before it sleeps keeps it from it
        next(loop)

    pool.apply_async(work)
    running.wait()
    loop = threading.Thread(target=sleep_once)
    loop.start()
    asleep.wait()
    done.set()
    loop.join(timeout=5)
    assert not loop.is_alive()
    hub.close()
    pool.on_stop()
