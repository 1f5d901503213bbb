"""DATABASE_URL and REDIS_URL in every form that people write them."""

import pytest

from aetheris_project import addresses


@pytest.mark.parametrize(
    ("url", "host", "port"),
    [
        ("postgres://u:p@db.example:5433/name", "db.example", "5433"),
        ("postgresql://u@/name?host=/run/pg", "/run/pg", ""),
        ("postgresql://u@/name?host=/run/pg&port=5433", "/run/pg", "5433"),
        ("postgres://u@%2Frun%2FPG/name", "/run/PG", ""),
        ("postgres:////run/pg/name", "/run/pg", ""),
    ],
)
def test_a_database_may_be_behind_a_port_or_a_socket(url: str, host: str, port: str) -> None:
    config = addresses.database(url)

    assert (config["HOST"], config["PORT"], config["NAME"]) == (host, port, "name")


def test_options_of_the_url_reach_the_driver() -> None:
    assert addresses.database("postgres://u@h/name?sslmode=require")["OPTIONS"] == {"sslmode": "require"}


@pytest.mark.parametrize(
    ("url", "kombu"),
    [
        ("redis://:secret@host:6380/3", "redis://:secret@host:6380/3"),
        ("unix:///run/valkey.sock?db=2", "redis+socket:///run/valkey.sock?virtual_host=2"),
        ("unix:///run/valkey.sock", "redis+socket:///run/valkey.sock?virtual_host=0"),
    ],
)
def test_the_broker_is_the_same_server_in_kombus_words(url: str, kombu: str) -> None:
    assert addresses.broker(url) == kombu
