"""The tools that installed apps declare in their `tools.py`."""

from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from tools.tool import Tool

_tools: dict[str, "Tool"] = {}


def register(tool: "Tool") -> None:
    """Make a tool known by its name. Two different tools of one name are a mistake."""
    known = _tools.get(tool.name)
    if known is not None and known.where != tool.where:
        raise ValueError(f"two tools are named {tool.name!r}: {known.where} and {tool.where}")
    _tools[tool.name] = tool


def get(name: str) -> "Tool | None":
    return _tools.get(name)


def names() -> list[str]:
    return sorted(_tools)


def registered() -> dict[str, "Tool"]:
    return dict(_tools)
