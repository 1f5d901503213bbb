"""One tool for each thing that a tool may declare. Each tells the world that it was called."""

from datetime import timedelta
from typing import Any

from tests.agents_app import bank  # noqa: F401 - declares the provider
from tests.agents_app.world import world
from tools import Compensation, Failed, Happened, Pending, ToolContext, tool


@tool
def charge(context: ToolContext, amount: float = 1.0) -> dict[str, Any]:
    """Declares nothing: never called twice when in doubt."""
    return world.called("charge", context, {"amount": amount}, {"charged": amount})  # type: ignore[no-any-return]


@tool(read_only=True)
def lookup(context: ToolContext, name: str = "x") -> dict[str, Any]:
    """Changes nothing outside."""
    return world.called("lookup", context, {"name": name}, {"name": name, "amount": 50})  # type: ignore[no-any-return]


@tool(idempotent=True)
def notify(context: ToolContext, to: str = "x") -> dict[str, Any]:
    """The outside keeps the key for ever."""
    return world.called("notify", context, {"to": to}, {"sent": to})  # type: ignore[no-any-return]


@tool(idempotent=True, key_window=timedelta(hours=24))
def pay(context: ToolContext, amount: float = 1.0) -> dict[str, Any]:
    """The outside keeps the key for a day."""
    return world.called("pay", context, {"amount": amount}, {"paid": amount})  # type: ignore[no-any-return]


@tool(verify=world.verify, timeout=30.0)
def transfer(context: ToolContext, amount: float = 1.0) -> dict[str, Any]:
    """The outside can be asked whether it happened."""
    return world.called("transfer", context, {"amount": amount}, {"transferred": amount})  # type: ignore[no-any-return]


@tool
async def book(context: ToolContext, room: str = "x") -> dict[str, Any]:
    """The same as `charge`, as a coroutine."""
    return world.called("book", context, {"room": room}, {"booked": room})  # type: ignore[no-any-return]


@tool
def release(context: ToolContext, what: str) -> dict[str, Any]:
    """Undoes a reservation."""
    return world.called("release", context, {"what": what}, {"released": what})  # type: ignore[no-any-return]


@tool(compensate=Compensation("release", {"what": "${result.reserved}"}))
def reserve(context: ToolContext, what: str) -> dict[str, Any]:
    """Can be undone."""
    return world.called("reserve", context, {"what": what}, {"reserved": what})  # type: ignore[no-any-return]


def _read_callback(body: Any) -> Happened | Failed:
    return Failed(body["error"], retry=True) if "error" in body else Happened(body)


@tool(poll=world.poll, verify=world.verify, webhook="bank", on_callback=_read_callback, timeout=30.0)
def payout(context: ToolContext, amount: float = 1.0) -> Any:
    """The outside takes it and says later how it ended; it can be asked, and tells by itself."""
    world.tokens.append(context.callback_token)
    return world.called(
        "payout", context, {"amount": amount}, Pending("po-1", poll_after=timedelta(minutes=10))
    )


@tool(webhook="bank")
def ship(context: ToolContext, to: str = "x") -> Any:
    """The outside tells by itself, and cannot be asked."""
    return world.called("ship", context, {"to": to}, Pending(callback=True, timeout=timedelta(days=2)))
