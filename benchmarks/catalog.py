"""The systems that are measured. What each does, and how it is set, stands in its file in `systems/`."""

import ast
from collections.abc import Mapping
from dataclasses import dataclass, field
from pathlib import Path

HERE = Path(__file__).parent


@dataclass(frozen=True)
class Server:
    """A process that a system needs besides its workers. `{environment}`, `{home}`, `{port}`, … are filled in."""

    name: str
    command: tuple[str, ...]
    variables: Mapping[str, str] = field(default_factory=dict)
    ports: bool = False
    """Whether it listens on `{port}`, and is ready when it does."""


@dataclass(frozen=True)
class System:
    name: str
    title: str
    shown: tuple[str, ...] = ()
    """Packages whose versions say what was measured."""
    servers: tuple[Server, ...] = ()
    own_environment: bool = True
    npm: str = ""
    lacks: Mapping[str, str] = field(default_factory=dict)
    """Workloads that it cannot run, and why."""
    divide: int = 1
    """Workloads of many jobs are this much smaller: a slow system would take the whole time."""
    longest: int = 5000
    """Steps of the longest job that it is given in W4."""
    variables: Mapping[str, str] = field(default_factory=dict)

    @property
    def settings(self) -> str:
        """How it is set and why: the docstring of its file, read without importing what it imports."""
        tree = ast.parse((HERE / "systems" / f"{self.name}.py").read_text())
        return " ".join((ast.get_docstring(tree) or "").split())

    @property
    def requirements(self) -> Path:
        return HERE / "requirements" / f"{self.name}.txt"


CATALOG = {
    system.name: system
    for system in (
        System(
            "aetheris",
            "Aetheris",
            own_environment=False,
            shown=("django", "celery", "psycopg"),
            servers=(Server("sweeper", ("{python}", "manage.py", "sweeper")),),
            variables={
                "AETHERIS_APPS": "benchmarks.systems.aetheris_app",
                "DJANGO_SETTINGS_MODULE": "aetheris_project.settings",
                "CELERY_SKIP_CHECKS": "1",
            },
        ),
        System("psycopg", "bare psycopg", own_environment=False, shown=("psycopg",)),
        System(
            "celery",
            "Celery alone",
            own_environment=False,
            shown=("celery", "redis"),
            lacks={"W7": "Celery has no wait for a signal"},
        ),
        System(
            "django_celery",
            "Django with Celery",
            own_environment=False,
            shown=("django", "celery"),
            lacks={f"W{number}": "measured for its memory" for number in ("1", "1t", "1b", *range(2, 8))},
            variables={"DJANGO_SETTINGS_MODULE": "benchmarks.systems.django_settings"},
        ),
        System("dbos", "DBOS", shown=("dbos",)),
        System("absurd", "Absurd", shown=("absurd-sdk",)),
        System(
            "restate",
            "Restate",
            shown=("restate-sdk",),
            npm="@restatedev/restate-server@1.7.12",
            servers=(
                Server(
                    "server",
                    (
                        "{environment}/node_modules/.bin/restate-server",
                        "--base-dir",
                        "{home}/data",
                        "--no-logo",
                    ),
                    variables={
                        "RESTATE_LISTEN_MODE": "tcp",
                        "RESTATE_BIND_IP": "127.0.0.1",
                        "RESTATE_BIND_PORT": "{node_port}",
                        "RESTATE_INGRESS__BIND_PORT": "{port}",
                        "RESTATE_ADMIN__BIND_PORT": "{admin_port}",
                        "RESTATE_DISABLE_TELEMETRY": "true",
                    },
                    ports=True,
                ),
            ),
        ),
        System(
            "langgraph",
            "LangGraph with PostgresSaver",
            shown=("langgraph", "langgraph-checkpoint-postgres"),
            lacks={"W5": "nothing takes over from a process that dies"},
        ),
        System(
            "prefect",
            "Prefect",
            shown=("prefect",),
            servers=(
                Server(
                    "server",
                    ("{environment}/bin/prefect", "server", "start", "--port", "{port}"),
                    variables={"PREFECT_SERVER_DATABASE_CONNECTION_URL": "{asyncpg}"},
                    ports=True,
                ),
            ),
            lacks={
                "W5": "a flow that was called goes down with its process",
                "W7": "its pause asks every ten seconds",
            },
            divide=10,
            longest=500,
            variables={
                "PREFECT_API_URL": "http://127.0.0.1:{port}/api",
                "PREFECT_HOME": "{home}",
                "PREFECT_SERVER_ANALYTICS_ENABLED": "false",
                "PREFECT_SERVER_UI_ENABLED": "false",
                "PREFECT_LOGGING_LEVEL": "WARNING",
                "PREFECT_LOGGING_TO_API_ENABLED": "false",
            },
        ),
    )
}
