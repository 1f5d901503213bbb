"""The settings of the runtime: one `AETHERIS` namespace with typed defaults, read here and nowhere else."""

from collections.abc import Mapping
from dataclasses import dataclass, field, fields
from decimal import Decimal
from functools import cache
from typing import Any

from django.conf import settings as django_settings
from django.core.exceptions import ImproperlyConfigured
from django.core.signals import setting_changed


@dataclass(frozen=True, slots=True)
class Settings:
    """Durations are seconds, sizes are bytes."""

    log_name: str = "aetheris"
    """Name of this deployment: part of every event header. ASCII."""

    lease_seconds: float = 5.0
    """How long a lease lives without a heartbeat. Shorter rescues sooner and tolerates shorter pauses."""
    heartbeat_seconds: float = 1.0
    sweep_seconds: float = 1.0
    rehint_seconds: float = 1.0
    """A ready step that nobody claimed is sent again after this time, then after twice as long each time."""
    rehint_cap_seconds: float = 60.0

    step_timeout_seconds: float = 600.0
    max_attempts: int = 5
    backoff_seconds: float = 1.0
    backoff_cap_seconds: float = 300.0
    """Wait before retry n is `backoff * 2**(n-1)`, at most the cap, with up to half of it as jitter."""

    poll_seconds: float = 30.0
    """How often a call that the outside accepted is asked about, where its tool says no time."""
    pending_timeout_seconds: float = 604800.0
    """How long the outside may take with it, where its tool says no time; then it is not known what became of it."""
    public_url: str = "http://localhost:8000"
    """Where the outside reaches this deployment: callback addresses begin with it."""

    keep_job_seconds: float = 5.0
    """How long a thread may go on by itself, with a job and the next ones, before it hands back what it has."""
    drain_seconds: float = 20.0
    """Grace time on SIGTERM: running steps finish within it."""
    threads: int = 16
    sweeper_threads: int = 4

    inline_value_bytes: int = 65_536
    """A larger value is kept once, by its digest, and the digest stands in its place."""
    max_value_bytes: int = 8 * 1024 * 1024
    max_depth: int = 100
    max_nodes: int = 20_000
    """Of a graph, and of a job with all that its steps add to it."""
    max_ready_steps: int | None = 100_000
    """Of a queue: with more, new jobs of the queue are refused. None: as many as come."""
    max_subjob_depth: int = 16
    """How many jobs may be above a subjob."""

    redis_timeout_seconds: float = 1.0
    redis_breaker_seconds: float = 2.0
    """After an error Redis is not asked again for this long."""

    redis_url: str = "redis://127.0.0.1:6379/0"
    model_base_url: str = ""
    model_api_key: str = ""
    model_name: str = "gpt-4o-mini"
    model_timeout_seconds: float = 60.0
    model_client: str = "adapters.openai_chat.complete"
    """Dotted path of what answers `llm` nodes; the runtime reaches adapters only this way."""
    model_prices: Mapping[str, Mapping[str, Decimal | str | int]] | None = None
    """By model: what a million `input`, `cached` and `output` tokens cost."""

    live_entries: int = 10_000
    """How many pieces of text the live stream of one job holds; the oldest go first."""
    live_seconds: float = 600.0
    """How long the live stream of a job is kept after its last piece."""
    streams: int = 4
    """How many `/stream` requests one web process answers at once: each holds one of its threads."""
    stream_seconds: float = 300.0
    """After this time such a request ends; the client comes back for what follows."""

    http_timeout_seconds: float = 30.0
    http_max_bytes: int = 1_000_000
    """The largest body that `context.http` reads."""
    http_internal: tuple[str, ...] = ()
    """Hosts and networks that are not public and that `context.http` may reach all the same."""
    tool_grants: Mapping[str, Any] | None = None
    """By name or pattern of a tool: allow, require_approval or deny. See docs/policies.md."""
    model_grants: Mapping[str, Any] | None = None
    model_limits: Mapping[str, Any] | None = None
    """By name or pattern of a model: `{"rate": "100/m", "concurrency": 8}`. See docs/policies.md."""

    step_validators: tuple[str, ...] = ("runtime.contract.default.ContractValidator",)
    """Dotted paths of what looks at step functions, in order. See docs/step-contract.md."""
    strict_steps: bool = False
    """Run no step function that breaks the step contract; `@step(strict=True)` says so of one."""
    on_code_change: str = "warn"
    """What happens to jobs whose step functions change under them: block, warn or allow. An agent may say its own."""
    code_look_seconds: float = 5.0
    """A step that is held for its code is looked at after this time, then after twice as long each time."""
    replay_seconds: float = 30.0
    """What one attempt may take when `replay --verify` runs it again."""
    narrative_events: int = 256
    narrative_bytes: int = 256 * 1024
    """What a step may hold of `context.emit` and `context.progress` until its next durable write."""

    always_grant_leases: bool = False
    """Test only: every lease is granted and none is ever seen as lost. Outcomes must not change."""
    crash_at: str = ""
    """Test only: a crash point and a flag file, see `runtime.ports.kill_at`."""
    all_queues: tuple[str, ...] = ("realtime", "default", "background", "heavy")
    """The queues that exist; a job or node that names another is refused."""
    capabilities: tuple[str, ...] = ()
    """What the steps that run in this process may require: small names such as `gpu`."""
    queues: tuple[str, ...] = field(default=("realtime", "default", "background"))
    """Queues a worker serves when it goes on with a job by itself."""


@cache
def settings() -> Settings:
    given: dict[str, Any] = getattr(django_settings, "AETHERIS", {})
    known = {f.name for f in fields(Settings)}
    unknown = sorted(set(given) - {name.upper() for name in known})
    if unknown:
        raise ImproperlyConfigured(
            f"AETHERIS has unknown settings: {', '.join(unknown)}. Known: {', '.join(sorted(known)).upper()}."
        )
    return Settings(**{name.lower(): value for name, value in given.items()})


def _forget(*, setting: str, **kwargs: object) -> None:
    if setting == "AETHERIS":
        settings.cache_clear()


setting_changed.connect(_forget, dispatch_uid="aetheris.conf")
