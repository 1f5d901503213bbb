"""Django's view of the tests' agents."""

from django.apps import AppConfig


class AgentsAppConfig(AppConfig):
    name = "tests.agents_app"
    label = "agents_app"
