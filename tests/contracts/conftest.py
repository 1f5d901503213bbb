"""Contract suites run on the engine tests' ground: real servers, and nothing broken after each test."""

from tests.engine.conftest import outside, transactional_db

__all__ = ["outside", "transactional_db"]
