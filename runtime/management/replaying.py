"""What `replay` shows: a state, a diff, a verification; as text for people."""

from __future__ import annotations

from typing import Any

from rich.console import Group, RenderableType

from runtime.management.shapes import payload, printable, table

LONGEST = 100


def state(answer: dict[str, Any]) -> RenderableType:
    head = f"Job {answer['job']} is {answer['status']} after event {answer['seq']} of {answer['events']}."
    steps = [
        (key, step["status"], step["attempt"], step["failures"], step["branch"], step["waiting_for"])
        for key, step in answer["steps"].items()
    ]
    parts: list[RenderableType] = [head]
    if steps:
        parts.append(table(("step", "status", "attempt", "failures", "branch", "waits for"), steps))
    if answer["ledger"]:
        parts.append("\n".join(f"{printable(call)}: {state}" for call, state in answer["ledger"].items()))
    return Group(*parts)


def diff(answer: dict[str, Any]) -> RenderableType:
    found = answer["diff"]
    lines = [("job", name, pair) for name, pair in found["job"].items()]
    for place in ("steps", "calls"):
        for key, fields in found[place].items():
            lines += [(key, name, pair) for name, pair in fields.items()]
    lines += [(key, "result", pair) for key, pair in found["results"].items()]
    lines += [(key, "call", pair) for key, pair in found["ledger"].items()]
    if not lines:
        return f"{answer['from']} and {answer['to']} are the same."
    rows = [(key, name, *(payload(side, LONGEST) for side in pair)) for key, name, pair in lines]
    return table(("where", "what", answer["from"], answer["to"]), rows)


def verification(answer: dict[str, Any]) -> RenderableType:
    lines = [f"Job {answer['job']}: {answer['events']} events, {_told(answer)}"]
    lines += [f"  broken at event {fault['event']}: {fault['message']}" for fault in answer["faults"]]
    lines += [f"  {count} left out: {why}" for why, count in answer["left_out"].items()]
    if found := answer["divergence"]:
        lines += [
            f"  step {printable(found['step'])}, attempt {found['attempt']}, ended by event {found['event']}: "
            f"the {found['what']} differs",
            f"    expected {printable(found['expected'])}",
            f"    got      {printable(found['got'])}",
        ]
    return Group("\n".join(lines), *map(verification, answer["subjobs"]))


def _told(answer: dict[str, Any]) -> str:
    if answer["faults"]:
        return "and the record is not what was written. Nothing was run."
    return (
        f"a whole chain. {answer['attempts']} attempts ran again on {answer['effects']} recorded effects"
        + ("." if answer["divergence"] else ", all alike.")
    )
