"""A job as server-sent events: what happens to it, and what its models write while they write it."""

from __future__ import annotations

import json
from collections.abc import Iterator, Mapping, Sequence
from typing import Any
from uuid import UUID

from django.http import HttpResponse, StreamingHttpResponse
from django.http.response import HttpResponseBase
from drf_spectacular.types import OpenApiTypes
from drf_spectacular.utils import OpenApiParameter, extend_schema
from rest_framework.exceptions import Throttled
from rest_framework.renderers import BaseRenderer, JSONRenderer
from rest_framework.request import Request

from runtime import permissions
from runtime.api import serializers
from runtime.api.views.base import View, job_of
from runtime.history import EventsPage
from runtime.live import Piece
from runtime.models import Job
from runtime.states import JOB_FINISHED
from runtime.watching import Ended, News, Place, seats, watch

COME_BACK_SECONDS = 5


class EventStream(BaseRenderer):
    """Lets `Accept: text/event-stream` through. What it renders itself are problems, which are JSON."""

    media_type = "text/event-stream"
    format = "event-stream"

    def render(
        self,
        data: Any,
        accepted_media_type: str | None = None,
        renderer_context: Mapping[str, Any] | None = None,
    ) -> bytes:
        return JSONRenderer().render(data)


class Stream(View):
    renderer_classes: Sequence[type[BaseRenderer]] = (EventStream, JSONRenderer)

    @extend_schema(
        operation_id="jobs_stream",
        parameters=[
            OpenApiParameter(
                "Last-Event-ID",
                str,
                OpenApiParameter.HEADER,
                description="The last `id` that you saw: only what follows it is sent.",
            )
        ],
        responses={
            (200, "text/event-stream"): OpenApiTypes.STR,
            204: None,
        },
    )
    def get(self, request: Request, job_id: UUID) -> HttpResponseBase:
        """Server-sent events: `event` for each event of the job, `text` for what models write, and at last `end`.

        204 where the job has ended and you have seen all of it. 429 while all places are taken.
        """
        job = job_of(request, job_id)
        place = Place.of(request.headers.get("Last-Event-ID") or "0")
        if job.status in JOB_FINISHED and place.seq >= job.seq:
            return HttpResponse(status=204)
        payloads = permissions.sees_payloads(request.user, job)
        if not seats.take():
            raise Throttled(wait=COME_BACK_SECONDS, detail="All places for streams are taken.")
        if payloads:
            permissions.note_payload_view(request.user, job.pk, f"stream after {place}")
        return StreamingHttpResponse(
            Watching(job, place, payloads=payloads),
            content_type="text/event-stream",
            headers={"Cache-Control": "no-store", "X-Accel-Buffering": "no"},
        )


class Watching:
    """The body of the answer. It gives its place back when the answer is closed, however that comes about."""

    def __init__(self, job: Job, place: Place, *, payloads: bool) -> None:
        self._news = watch(job, place, payloads=payloads)
        self._payloads = payloads
        self._closed = False

    def __iter__(self) -> Iterator[bytes]:
        yield f"retry: {COME_BACK_SECONDS * 1000}\n\n".encode()
        for place, news in self._news:
            yield from _written(place, news)

    def close(self) -> None:
        if not self._closed:
            self._closed = True
            self._news.close()
            seats.leave()


def _written(place: Place, news: News) -> Iterator[bytes]:
    match news:
        case EventsPage(events, parts):
            for event in events:
                shown = serializers.EventSerializer(event, context={"parts": parts}).data
                yield _sent("event", Place(event.seq, place.piece), shown)
        case Piece(_, step, attempt, call, offset, text):
            told = {"step": step, "attempt": attempt, "call": call, "offset": offset, "text": text}
            yield _sent("text", place, told)
        case Ended(status):
            yield _sent("end", place, {"status": status})
        case _:
            yield b": still here\n\n"


def _sent(name: str, place: Place, data: Any) -> bytes:
    text = json.dumps(json.loads(JSONRenderer().render(data)), ensure_ascii=True)
    return f"event: {name}\nid: {place}\ndata: {text}\n\n".encode()
