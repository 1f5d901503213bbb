"""What a tool may raise. Any other exception means that it is not known whether the call happened."""

from datetime import timedelta


class ToolError(Exception):
    """Base of the errors that say for certain that nothing happened."""

    permanent = False

    def __init__(self, message: str, *, retry_after: timedelta | None = None) -> None:
        super().__init__(message)
        self.retry_after = retry_after


class NotSent(ToolError):
    """Nothing reached the outside: the connection was refused, or the service asked to come back later.

    The same call may be made again, after `retry_after` where it is given.
    """


class Refused(ToolError):
    """The outside refused the call by a documented answer and did nothing. Calling again cannot help."""

    permanent = True


class ToolArgumentsInvalid(ValueError):
    """Arguments do not fit the tool's signature. `problems` are (path, message) pairs."""

    def __init__(self, tool: str, problems: list[tuple[str, str]]) -> None:
        listed = "; ".join(f"{path}: {message}" for path, message in problems)
        super().__init__(f"arguments of tool {tool!r}: {listed}")
        self.tool = tool
        self.problems = problems
