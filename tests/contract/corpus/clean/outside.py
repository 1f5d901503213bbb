"""The outside through tools, and the names of libraries that reach it."""

# mypy: ignore-errors

from __future__ import annotations

import asyncio
import logging
import os
import os.path
import socket
import subprocess
import time
import urllib.error
import urllib.parse
import urllib.request
from http import HTTPStatus
from typing import TYPE_CHECKING
from urllib.parse import urlencode, urljoin

import httpx
from django.conf import settings
from django.contrib.auth.models import User

from runtime.models import Job
from tools import NotSent, Refused, tool

if TYPE_CHECKING:
    from collections.abc import Sequence

logger = logging.getLogger(__name__)


@tool(name="corpus.fetch", read_only=True)
def fetch(url: str) -> dict[str, int]:
    """A tool may do what a step may not."""
    started = time.monotonic()
    answer = httpx.get(url)
    return {"status": answer.status_code, "ms": int((time.monotonic() - started) * 1000)}


def through_a_tool(context, url):
    return context.tool(fetch.name, url=url)


def tool_by_name(context, url):
    answer = context.tool("corpus.fetch", url=url)
    logger.info("fetched %s", url)
    return answer["status"]


def asked(context, question):
    answer = context.model({"model": "m", "messages": [{"role": "user", "content": question}]})
    return answer["content"].strip()


def built_url(context, base, **query):
    return urljoin(base, "?" + urlencode(query)) + urllib.parse.quote("ä")


def built_request(context, url):
    request = httpx.URL(url).copy_with(path="/v2")
    return str(request)


def prepared(context, url):
    return urllib.request.Request(url, method="PUT").get_method()


def caught(context):
    try:
        return context.tool("corpus.fetch", url="x")
    except (httpx.HTTPError, urllib.error.URLError, socket.timeout, Refused) as error:  # noqa: UP041
        return str(error)
    except subprocess.CalledProcessError as error:
        return error.returncode
    except NotSent:
        raise httpx.ConnectError("not sent") from None


def typed(
    context, answer: httpx.Response | None = None, items: Sequence[socket.socket] = ()
) -> httpx.Response | None:
    known: httpx.Response | None = answer
    return known if isinstance(known, httpx.Response) else None


def constants(context, code):
    return [HTTPStatus(code).phrase, code == httpx.codes.OK, int(socket.AF_INET)]


def joined_path(context, name):
    return os.path.join("reports", os.path.basename(name)) + os.sep


def configured(context):
    return settings.TIME_ZONE


def read_rows(context, name):
    users = User.objects.filter(username=name).order_by("pk")
    first = users.first()
    return [users.count(), first.username if first else None, list(users.values_list("pk", flat=True))]


def row_as_dict(context, name):
    row = User.objects.filter(username=name).values("username").first() or {}
    row.update(found=bool(row))
    return row


def unsaved(context, name):
    user = User(username=name)
    user.set_password("never stored")
    return user.get_username()


def read_job(context):
    job = Job.objects.filter(agent="none").first()
    return job.status if job is not None else None


class Document:
    def __init__(self):
        self.text = ""

    def save(self, text):
        self.text = text

    def delete(self):
        self.text = ""


def saved_elsewhere(context, text):
    """`save`, `update` and `delete` of what is no row."""
    document, facts = Document(), {}
    document.save(text)
    facts.update(text=document.text)
    document.delete()
    return facts


async def awaited(context, one, other):
    async def double(value):
        return value * 2

    return [await double(one), await double(other)]


async def locked(context, url):
    async with asyncio.Lock():
        return context.tool("corpus.fetch", url=url)


def paused(context):
    return context.wait(0.1) or context.cancelled or context.remaining_seconds > 1


def told(context, items):
    for number, item in enumerate(items):
        context.emit("item", {"item": item})
        context.progress(number / len(items), f"{number} done")
    return len(items)
