"""What a step may not reach for, by dotted name, and what it uses instead: the contract as a table.

A name with a dot at its end stands for everything in that module; the longest name that fits decides.
"""

from __future__ import annotations

import re
from collections.abc import Iterable, Iterator
from dataclasses import dataclass


@dataclass(frozen=True, slots=True)
class Rule:
    """One kind of violation."""

    code: str
    why: str
    """Follows the name of what was used: "`time.time` reads the clock, …"."""
    replacement: str


CLOCK = Rule("clock", "reads the clock, which says something else on every attempt", "`context.now()`")
RANDOM = Rule(
    "random",
    "draws chance, which falls differently on every attempt",
    "`context.random()`, or `random.Random(seed)` with a seed from the inputs",
)
IDENTITY = Rule("random", "makes a new identity on every attempt", "`context.uuid4()`")
NETWORK = Rule(
    "network",
    "reaches the outside, where a repeated step would be a second effect",
    "`context.http(method, url)` to read, a tool called with `context.tool(name, …)` to act",
)
MODEL = Rule(
    "network", "asks a model beside the ledger, and again on every attempt", "`context.model(request)`"
)
PROCESS = Rule(
    "process",
    "starts a process, whose effects a repeated step would repeat",
    "a tool, called with `context.tool(name, …)`",
)
SLEEP = Rule(
    "sleep",
    "holds a worker while nothing happens, and hears no cancel",
    "`context.wait(seconds)` for a moment, a `timer` node for longer",
)
CONCURRENCY = Rule(
    "concurrency",
    "runs code beside the step, in an order that no attempt repeats",
    "several steps of the graph, or a `map` node, which run side by side",
)
ENVIRONMENT = Rule(
    "environment",
    "depends on the machine and process that the step happens to run in",
    "an input of the step, or Django settings",
)
STATE = Rule(
    "state",
    "is shared by every step of this process and by none of another one",
    "the step's inputs and result, or a tool that keeps it",
)
DATABASE = Rule(
    "database",
    "writes rows that are not the step's result, and again on every attempt",
    "a tool, called with `context.tool(name, …)`",
)

CODES = {
    rule.code
    for rule in (
        CLOCK,
        RANDOM,
        NETWORK,
        PROCESS,
        SLEEP,
        CONCURRENCY,
        ENVIRONMENT,
        STATE,
        DATABASE,
    )
}


def _each(rule: Rule | None, prefix: str, names: str) -> Iterable[tuple[str, Rule | None]]:
    return [(prefix + name, rule) for name in names.split()]


RULES: dict[str, Rule | None] = dict(
    [
        *_each(
            CLOCK,
            "time.",
            "time time_ns monotonic monotonic_ns perf_counter perf_counter_ns process_time process_time_ns "
            "thread_time thread_time_ns clock_gettime clock_gettime_ns",
        ),
        *_each(CLOCK, "datetime.", "datetime.now datetime.utcnow datetime.today date.today"),
        *_each(CLOCK, "", "django.utils.timezone.now runtime.clock.now os.times email.utils.localtime"),
        *_each(CLOCK, "pendulum.", "now today yesterday tomorrow"),
        *_each(CLOCK, "arrow.", "now utcnow"),
        *_each(CLOCK, "pandas.", "Timestamp.now Timestamp.today Timestamp.utcnow"),
        *_each(CLOCK, "", "asyncio.get_running_loop().time asyncio.get_event_loop().time"),
        *_each(RANDOM, "", "random. numpy.random. secrets. os.urandom os.getrandom"),
        *_each(None, "", "secrets.compare_digest random.Random numpy.random.Generator"),
        *_each(IDENTITY, "uuid.", "uuid1 uuid4 uuid6 uuid7 getnode"),
        *_each(IDENTITY, "django.utils.crypto.", "get_random_string"),
        *_each(
            NETWORK,
            "",
            "requests. httpx. aiohttp. urllib.request. urllib3. http.client. socket. ssl. smtplib. ftplib. "
            "imaplib. poplib. telnetlib. nntplib. xmlrpc.client. socketserver. websocket. websockets. boto3. "
            "botocore. aioboto3. paramiko. fabric. grpc. pika. kafka. confluent_kafka. redis. valkey. "
            "pymongo. motor. psycopg. psycopg2. asyncpg. pymysql. MySQLdb. elasticsearch. stripe. twilio. "
            "sendgrid. slack_sdk. google.cloud. azure. django.core.mail. pycurl. asyncio.open_connection "
            "asyncio.start_server asyncio.open_unix_connection",
        ),
        *_each(
            None,
            "",
            "requests.codes requests.Request requests.structures. requests.utils. requests.auth. "
            "requests.exceptions. httpx.URL httpx.Headers httpx.QueryParams httpx.Limits httpx.codes "
            "httpx.Request urllib.request.Request urllib3.util. botocore.exceptions. botocore.config. boto3.dynamodb. "
            "socket.inet_aton socket.inet_ntoa socket.inet_pton socket.inet_ntop socket.htons socket.htonl "
            "socket.ntohs socket.ntohl socket.timeout "
            "socket.error socket.gaierror socket.herror google.cloud.exceptions. django.core.mail.message.",
        ),
        *_each(MODEL, "", "openai. anthropic. litellm. mistralai. cohere. ollama. google.generativeai."),
        *_each(
            PROCESS,
            "",
            "subprocess. os.system os.popen os.fork os.forkpty os.posix_spawn os.posix_spawnp os.startfile "
            "pty. asyncio.create_subprocess_exec asyncio.create_subprocess_shell",
        ),
        *_each(PROCESS, "os.exec", "l le lp lpe v ve vp vpe"),
        *_each(PROCESS, "os.spawn", "l le lp lpe v ve vp vpe"),
        *_each(None, "subprocess.", "list2cmdline CompletedProcess"),
        *_each(SLEEP, "", "time.sleep asyncio.sleep signal.pause anyio.sleep trio.sleep gevent.sleep"),
        *_each(
            CONCURRENCY,
            "",
            "threading.Thread threading.Timer _thread. multiprocessing. concurrent.futures. gevent.spawn",
        ),
        *_each(None, "", "concurrent.futures.Future multiprocessing.cpu_count"),
        *_each(
            CONCURRENCY,
            "asyncio.",
            "create_task ensure_future gather wait as_completed to_thread TaskGroup run_coroutine_threadsafe",
        ),
        *_each(
            CONCURRENCY,
            "",
            "asyncio.get_running_loop().create_task asyncio.get_running_loop().run_in_executor "
            "asyncio.get_event_loop().create_task asyncio.get_event_loop().run_in_executor",
        ),
        *_each(
            ENVIRONMENT,
            "",
            "os.environ os.environb os.getenv os.getenvb os.getpid os.getppid os.getcwd os.uname os.getlogin "
            "platform.node platform.uname socket.gethostname socket.getfqdn sys.argv",
        ),
        *_each(STATE, "", "django.core.cache.cache. django.core.cache.caches[]."),
        *_each(DATABASE, "", "django.db.connection.cursor django.db.connections[].cursor"),
    ]
)

UNLESS_GIVEN: dict[str, tuple[Rule, int]] = {
    "time.localtime": (CLOCK, 1),
    "time.gmtime": (CLOCK, 1),
    "time.ctime": (CLOCK, 1),
    "time.asctime": (CLOCK, 1),
    "time.strftime": (CLOCK, 2),
    "email.utils.formatdate": (CLOCK, 1),
    "django.utils.timezone.localtime": (CLOCK, 1),
    "django.utils.timezone.localdate": (CLOCK, 1),
    "random.Random": (RANDOM, 1),
    "numpy.random.default_rng": (RANDOM, 1),
    "numpy.random.RandomState": (RANDOM, 1),
}
"""Calls that are repeatable when they are given as many arguments."""

FACTORIES = frozenset({"asyncio.get_running_loop", "asyncio.get_event_loop", "asyncio.new_event_loop"})
"""Calls whose result is still followed when a local name holds it."""

_HARMLESS = re.compile(r"(Error|Exception|Timeout|Warning)(?=$|[.(\[])|\.[A-Z][A-Z0-9_]*(?=$|[.\[])")
"""Exception types, and constants, of a module whose functions are refused. `SMTP()` is no constant."""
_BOUNDARY = re.compile(r"[.(\[]")


def rule_for(dotted: str) -> Rule | None:
    """The rule that forbids a name such as `requests.Session().get`; None when nothing does.

    A name that is called ends with `()`.
    """
    for name in _shorter(dotted):
        if name in RULES:
            rule = RULES[name]
            if name.endswith(".") and _HARMLESS.search(dotted, len(name) - 1):
                return None
            return rule
    return None


def spoken(dotted: str) -> str:
    """The name that a finding speaks of: `httpx.Client` for `httpx.Client().get().text`."""
    ruled = next((name for name in _shorter(dotted) if "(" in name and name in RULES), None)
    return ruled or re.split(r"[(\[]", dotted, maxsplit=1)[0]


def _shorter(dotted: str) -> Iterator[str]:
    """The name, then without its last part, and so on; a module's name comes with its dot."""
    yield dotted
    for match in reversed(list(_BOUNDARY.finditer(dotted))):
        if match.group() == ".":
            yield dotted[: match.end()]
        yield dotted[: match.start()]
