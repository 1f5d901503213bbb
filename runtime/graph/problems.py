"""What is wrong with a graph, and where."""

from collections.abc import Iterable
from dataclasses import dataclass

SHOWN = 5
MOST = 50


@dataclass(frozen=True, slots=True)
class Problem:
    """One fault: `path` names the place (`nodes[3].inputs.order`), `hint` the way out where there is one."""

    path: str
    code: str
    message: str
    hint: str = ""

    def __str__(self) -> str:
        text = f"{self.path}: {self.message}" if self.path else self.message
        return f"{text} ({self.hint})" if self.hint else text

    def below(self, path: str) -> "Problem":
        """The same fault seen from the document that holds its object at `path`."""
        inner = f".{self.path}" if self.path and not self.path.startswith("[") else self.path
        return Problem(path + inner, self.code, self.message, self.hint)

    def as_dict(self) -> dict[str, str]:
        return {"path": self.path, "code": self.code, "message": self.message, "hint": self.hint}


class GraphInvalid(ValueError):
    """A graph was refused; `problems` lists every fault that was found."""

    def __init__(self, problems: Iterable[Problem]) -> None:
        self.problems = list(problems)
        lines = [f"  {problem}" for problem in self.problems[:SHOWN]]
        if len(self.problems) > SHOWN:
            lines.append(f"  … and {len(self.problems) - SHOWN} more")
        super().__init__("This TaskGraph cannot run:\n" + "\n".join(lines))


class Report:
    """Collects problems; raises them when a stage is over, or when there are enough of them."""

    def __init__(self) -> None:
        self.problems: list[Problem] = []

    def add(self, path: str, code: str, message: str, hint: str = "") -> None:
        self.problems.append(Problem(path, code, message, hint))
        if len(self.problems) >= MOST:
            self.settle()

    def settle(self) -> None:
        if self.problems:
            raise GraphInvalid(self.problems)


def shown(value: object) -> str:
    """A value as it may stand in a message."""
    plain = value is None or isinstance(value, (str, int, float))
    text = repr(value) if plain else f"a {type(value).__name__}"
    return text if len(text) <= 80 else text[:77] + "…"
