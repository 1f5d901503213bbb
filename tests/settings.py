"""The project's settings on the tests' own servers."""

from tests import services

services.choose()

from aetheris_project.settings import *  # noqa: E402,F403 - the addresses have to be there first
from aetheris_project.settings import DATABASES, INSTALLED_APPS  # noqa: E402

INSTALLED_APPS = [*INSTALLED_APPS, "tests.agents_app.apps.AgentsAppConfig"]

# The flush after a transactional test may empty what a trigger keeps append-only.
DATABASES["default"]["OPTIONS"]["options"] += " -c aetheris.allow_truncate=on"

PASSWORD_HASHERS = ["django.contrib.auth.hashers.MD5PasswordHasher"]
