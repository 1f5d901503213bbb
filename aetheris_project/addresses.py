"""DATABASE_URL and REDIS_URL in the forms that Django, Celery and redis-py want, Unix sockets included."""

from typing import Any
from urllib.parse import parse_qs, unquote, urlsplit

from environ import Env


def database(url: str) -> dict[str, Any]:
    """One entry of DATABASES. The host may be a directory: `?host=/run/pg`, `%2Frun%2Fpg` or `postgres:////run/pg/name`."""
    config: dict[str, Any] = Env.db_url_config(url)
    options = config.setdefault("OPTIONS", {})
    host = unquote(urlsplit(url).netloc.rpartition("@")[2])
    config["HOST"] = options.pop("host", host if host.startswith("/") else config["HOST"])
    config["PORT"] = str(options.pop("port", config["PORT"]))
    for key in ("user", "password"):
        if key in options:
            config[key.upper()] = options.pop(key)
    return config


def broker(url: str) -> str:
    """The same server as kombu names it: it says `redis+socket` and `virtual_host` for a socket."""
    parts = urlsplit(url)
    if parts.scheme != "unix":
        return url
    database_number = parse_qs(parts.query).get("db", ["0"])[0]
    return f"redis+socket://{parts.netloc}{parts.path}?virtual_host={database_number}"
