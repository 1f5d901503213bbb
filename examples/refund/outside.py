"""The payment service, as the tools reach it. What its answers mean for the ledger, `HttpClient` knows."""

import os
from functools import cache

import httpx

from tools.http import HttpClient


def payments() -> HttpClient:
    return _client(os.environ.get("AETHERIS_DEMO_PAYMENTS_URL", "http://127.0.0.1:8100"))


@cache
def _client(url: str) -> HttpClient:
    # It runs beside the workers, where requests do not lead unless it is said that they may.
    return HttpClient(url, internal=[httpx.URL(url).host], timeout=15.0)
