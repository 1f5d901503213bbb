"""What can be wrong with an expression: it cannot be read, or it has no value for the data it met."""


class ExpressionInvalid(ValueError):
    """An expression that cannot be read. `position` counts characters from its beginning."""

    def __init__(self, expression: str, reason: str, position: int | None = None) -> None:
        self.expression, self.reason, self.position = expression, reason, position
        place = f" at character {position + 1}" if position is not None else ""
        super().__init__(f"the expression {_short(expression)} is not valid{place}: {reason}")


class ExpressionFailed(ValueError):
    """An expression that has no value for the data it met. `missing` is the reference without a value."""

    def __init__(self, expression: str, reason: str, missing: str | None = None) -> None:
        self.expression, self.reason, self.missing = expression, reason, missing
        super().__init__(f"the expression {_short(expression)} has no value: {reason}")


def _short(expression: str) -> str:
    return repr(expression if len(expression) <= 120 else expression[:117] + "…")
