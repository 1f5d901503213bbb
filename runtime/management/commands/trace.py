"""manage.py trace: what happened in a job, event by event."""

from argparse import ArgumentParser
from collections import defaultdict
from typing import Any

from rich.console import RenderableType

from runtime import blobs
from runtime.management.base import AetherisCommand, add_job, named_job
from runtime.management.shapes import job_as_json, moment, payload, printable
from runtime.models import Event, Job, LedgerEntry

LONGEST_PAYLOAD = 500


class Command(AetherisCommand):
    help = "Tells what happened in a job: its events, those of a step indented, with their payloads."

    def add_arguments(self, parser: ArgumentParser) -> None:
        add_job(parser)
        parser.add_argument("--step", metavar="STEP", help="only the events of this step")
        parser.add_argument("--no-payloads", action="store_true", help="without inputs, results and errors")

    def answer(self, *, job: str, step: str | None, no_payloads: bool, **options: Any) -> dict[str, Any]:
        found = named_job(job)
        events = found.events.order_by("seq")
        if step is not None:
            events = events.filter(step=step)
        parts = {} if no_payloads else _payloads(found)
        return {
            "job": job_as_json(found),
            "usage": LedgerEntry.objects.filter(job=found).usage(),
            "events": [_as_json(event, parts.get(event.seq, {})) for event in events],
        }

    def text(self, answer: dict[str, Any]) -> RenderableType:
        job = answer["job"]
        lines = [f"{job['agent']} {job['id']} is {job['status']}; submitted {job['created_at']}"]
        for event in answer["events"]:
            indent = "  " if event["step"] else ""
            lines.append(
                f"{event['seq']:5} {event['at'][11:23]} {indent}{event['type']}{_where(event)}{_data(event)}"
            )
            for name, value in event["payloads"].items():
                lines.append(f"{'':21}{indent}{name}: {payload(value, LONGEST_PAYLOAD)}")
        return "\n".join([*lines, *_usage(answer["usage"])])


def _payloads(job: Job) -> dict[int, dict[str, Any]]:
    found: dict[int, dict[str, Any]] = defaultdict(dict)
    rows = job.event_parts.values_list("seq", "name", "value")
    values = blobs.all_whole(job.tenant, {(seq, name): value for seq, name, value in rows})
    for (seq, name), value in values.items():
        found[seq][name] = value
    return found


def _as_json(event: Event, payloads: dict[str, Any]) -> dict[str, Any]:
    return {
        "seq": event.seq, "type": event.type, "at": moment(event.at), "step": event.step, "attempt": event.attempt,
        "worker": str(event.worker) if event.worker else None, "data": event.data, "payloads": payloads,
        "digest": bytes(event.digest).hex(),
    }  # fmt: skip


def _usage(usage: dict[str, int]) -> list[str]:
    if not usage["calls"]:
        return []
    told = f"{usage['calls']} model calls: {usage['input_tokens']} tokens in, {usage['output_tokens']} out"
    return [f"{told}, cost {usage['cost_micros'] / 1_000_000:.6f}" if usage["cost_micros"] else told]


def _where(event: dict[str, Any]) -> str:
    if not event["step"]:
        return ""
    attempt = f", attempt {event['attempt']}" if event["attempt"] else ""
    return f" {printable(event['step'])}{attempt}"


def _data(event: dict[str, Any]) -> str:
    told = [f"{name}={payload(value)}" for name, value in event["data"].items()]
    return f"  ({', '.join(told)})" if told else ""
