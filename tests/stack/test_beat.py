"""Schedules run once however many beats there are."""

from collections.abc import Callable, Iterator

import pytest
from django.db import connection

from aetheris_project.beat import OnlyScheduler
from aetheris_project.celery import app

pytestmark = pytest.mark.django_db(transaction=True)


@pytest.fixture
def new_beat() -> Iterator[Callable[[], OnlyScheduler]]:
    made: list[OnlyScheduler] = []

    def new() -> OnlyScheduler:
        made.append(OnlyScheduler(app=app))
        return made[-1]

    yield new
    for beat in made:
        beat.close()


def ticks(beat: OnlyScheduler) -> bool:
    """Whether it is the one."""
    beat.tick()
    return beat._holding is not None


def test_one_of_two_beats_ticks_and_the_other_takes_over(new_beat: Callable[[], OnlyScheduler]) -> None:
    first, second = new_beat(), new_beat()

    assert ticks(first)
    assert not ticks(second)
    first.close()
    assert ticks(second)


def test_a_beat_whose_connection_was_cut_asks_again(new_beat: Callable[[], OnlyScheduler]) -> None:
    beat = new_beat()
    beat.tick()
    assert beat._holding is not None
    with connection.cursor() as cursor:
        cursor.execute("SELECT pg_terminate_backend(%s)", [beat._holding.info.backend_pid])

    assert not ticks(beat)
    assert ticks(beat)
