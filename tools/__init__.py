"""What a tool is: a typed function with a declared effect on the outside. Knows nothing of jobs."""

from tools.answers import Absent, CannotTell, Failed, Happened, News, Pending, Verdict
from tools.compensation import Compensation
from tools.errors import NotSent, Refused, ToolArgumentsInvalid, ToolError
from tools.registry import get, names, register, registered
from tools.tool import Policy, Tool, ToolContext, tool

__all__ = [
    "Absent",
    "CannotTell",
    "Compensation",
    "Failed",
    "Happened",
    "News",
    "NotSent",
    "Pending",
    "Policy",
    "Refused",
    "Tool",
    "ToolArgumentsInvalid",
    "ToolContext",
    "ToolError",
    "Verdict",
    "get",
    "names",
    "register",
    "registered",
    "tool",
]
