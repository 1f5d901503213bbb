"""The project's settings on the tests' own servers."""

from tests import services

services.choose()

from aetheris_project.settings import *  # noqa: E402,F403 - the addresses have to be there first

PASSWORD_HASHERS = ["django.contrib.auth.hashers.MD5PasswordHasher"]
