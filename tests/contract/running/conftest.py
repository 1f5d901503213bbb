"""The engine's fixtures: real servers, empty tables afterwards, and no job may be left broken."""

from tests.engine.conftest import moving_clock, outside, transactional_db, worker

__all__ = ["moving_clock", "outside", "transactional_db", "worker"]
