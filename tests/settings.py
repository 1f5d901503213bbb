"""The project's settings on the tests' own servers."""

from tests import services

services.choose()

from aetheris_project.settings import *  # noqa: E402,F403 - the addresses have to be there first
from aetheris_project.settings import AETHERIS, DATABASES, INSTALLED_APPS  # noqa: E402

INSTALLED_APPS = [*INSTALLED_APPS, "tests.agents_app.apps.AgentsAppConfig"]

PASSWORD_HASHERS = ["django.contrib.auth.hashers.MD5PasswordHasher"]

# Between transactional tests Django truncates tables that refuse it otherwise.
DATABASES["default"]["OPTIONS"]["options"] += " -c aetheris.allow_truncate=on"

# A machine that stands still for a second is no outage.
for limit in ("lock_timeout", "statement_timeout", "idle_in_transaction_session_timeout"):
    DATABASES["default"]["OPTIONS"]["options"] += f" -c {limit}=120s"
DATABASES["default"]["OPTIONS"]["connect_timeout"] = 60
AETHERIS["REDIS_TIMEOUT_SECONDS"] = 30.0

# Some tests count statements, and a look at the backlog comes once a second.
AETHERIS["MAX_READY_STEPS"] = None
