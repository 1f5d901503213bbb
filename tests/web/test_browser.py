"""A person at a browser: logs in, submits a refund, approves it, and sees the job finish. All of it is real."""

import secrets
import shutil
import time
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest

from examples.refund.demo.world import World
from runtime.stack.clean import clean
from runtime.stack.places import Places
from runtime.stack.programs import Shape
from runtime.stack.supervisor import Supervisor
from tests import services

CHROMIUM = next(filter(None, map(shutil.which, ("chromium", "chromium-browser", "google-chrome"))), None)
ARTIFACTS = Path(__file__).resolve().parents[2] / ".local" / "artifacts"
PATIENCE = 60_000
ARGUMENTS = [
    "--no-sandbox",
    "--disable-gpu",
    "--disable-dev-shm-usage",
    "--disable-quic",
    "--no-first-run",
    "--disable-background-networking",
    "--disable-component-update",
    "--disable-sync",
]

pytestmark = [
    pytest.mark.browser,
    pytest.mark.skipif(CHROMIUM is None, reason="no Chromium here: `apt install chromium`"),
]


@pytest.fixture(autouse=True)
def outside() -> None:
    """Nothing of this process: the stack has a database of its own."""


@pytest.fixture(scope="module")
def password() -> str:
    return secrets.token_urlsafe(12)


@pytest.fixture(scope="module")
def running_stack(password: str) -> Iterator[Supervisor]:
    places = Places(instance=f"{services.slot().instance}/browser")
    clean(places)
    places.prepare()
    with World(places) as world:
        world.wait_ready()
        told = {
            "DJANGO_SETTINGS_MODULE": "aetheris_project.settings",
            "AETHERIS_APPS": "examples.refund",
            "DJANGO_SUPERUSER_PASSWORD": password,
            **world.environment,
        }
        shape = Shape(port=0, workers=1, heavy=0, beat=False)
        supervisor = Supervisor(places, shape, extra_environment=told, use_given_servers=False)
        with supervisor:
            supervisor.wait_ready(300, everything=True)
            supervisor.manage("createsuperuser", "--noinput", "--username=grace", "--email=grace@example.org")
            yield supervisor


@pytest.fixture
def faults() -> list[str]:
    """What the browser's console complained of."""
    return []


@pytest.fixture(params=["with JavaScript", "without JavaScript"])
def page(request: pytest.FixtureRequest, stack: Supervisor, faults: list[str]) -> Iterator[Any]:
    from playwright.sync_api import sync_playwright

    with sync_playwright() as playwright:
        browser = playwright.chromium.launch(executable_path=CHROMIUM, args=ARGUMENTS)
        context = browser.new_context(
            base_url=stack.url,
            java_script_enabled=request.param == "with JavaScript",
            viewport={"width": 1340, "height": 900},
        )
        page: Any = context.new_page()
        page.set_default_timeout(PATIENCE)
        page.on("console", lambda message: faults.extend([message.text] if message.type == "error" else []))
        page.on("pageerror", lambda error: faults.append(str(error)))
        yield page
        browser.close()


def wait_for(page: Any, selector: str, *, live: bool) -> None:
    """The page brings it by itself, or without JavaScript the reader asks again."""
    if live:
        page.wait_for_selector(selector)
        return
    give_up = time.monotonic() + PATIENCE / 1000
    while page.locator(selector).count() == 0:
        assert time.monotonic() < give_up, f"{selector} never came"
        page.wait_for_timeout(300)
        page.reload()


def test_a_refund_is_submitted_approved_and_seen_to_finish(page, password, request, faults):
    live = "with JavaScript" in request.node.name
    page.goto("/")
    page.fill("input[name=username]", "grace")
    page.fill("input[name=password]", password)
    page.click("button:has-text('Log in')")

    page.click("summary:has-text('New job')")
    page.select_option("select[name=agent]", "refund")
    page.fill(
        "textarea[name=input]",
        f'{{"order_id": "large-{secrets.token_hex(3)}", "reason": "It arrived broken"}}',
    )
    page.click("button:has-text('Submit')")

    wait_for(page, "button:has-text('Approve')", live=live)
    assert "EUR" in page.inner_text(".prompt")
    page.fill("input[name=comment]", "The photo shows it")
    if live:  # a poll with news must not take away what is being typed
        page.wait_for_timeout(2500)
        assert page.input_value("input[name=comment]") == "The photo shows it"
    page.click("button:has-text('Approve')")

    wait_for(page, "h1 .pill.is-completed", live=live)
    assert page.get_attribute("svg a[aria-label^='refund:']", "aria-label") == "refund: completed"
    ARTIFACTS.mkdir(parents=True, exist_ok=True)
    name = "job.png" if live else "job-without-javascript.png"
    page.screenshot(path=ARTIFACTS / name, full_page=True)

    page.click("nav a:has-text('Jobs')")
    assert page.inner_text("tbody tr:first-child .pill").strip().endswith("completed")
    page.click("a:has-text('Admin')")
    page.wait_for_selector("text=Site administration")
    page.goto("/api/v1/docs/")
    if live:
        page.wait_for_selector(".opblock-summary-path")
    assert faults == []
