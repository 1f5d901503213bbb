"""Tools that speak HTTP: a client that knows what its answers mean, and a ready tool made of it."""

from tools.http.client import HttpClient
from tools.http.outcomes import AnswerUnreadable, OutcomeUnknown, StillProcessing
from tools.http.paths import path
from tools.http.reach import Forbidden, Reach
from tools.http.ready import http_tool

__all__ = [
    "AnswerUnreadable",
    "Forbidden",
    "HttpClient",
    "OutcomeUnknown",
    "Reach",
    "StillProcessing",
    "http_tool",
    "path",
]
