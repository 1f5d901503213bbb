"""Reading the documents: blocks of code, tables, links."""

from __future__ import annotations

import re
from dataclasses import dataclass
from functools import cache
from pathlib import Path

ROOT = Path(__file__).resolve().parents[2]

FENCE = re.compile(r"^```(?P<info>[^\n`]*)\n(?P<text>.*?)^```$", re.MULTILINE | re.DOTALL)
TITLE = re.compile(r'title="([^"]+)"')
LINK = re.compile(r"\[[^\]]*\]\(([^)\s]+)\)")
HEADING = re.compile(r"^#{1,6} +(.+)$", re.MULTILINE)
CODE = re.compile(r"`([^`\n]+)`")


@dataclass(frozen=True)
class Block:
    """A fenced block: ```` ```python title="hello/tools.py" ````."""

    page: str
    line: int
    language: str
    title: str
    runs: bool
    text: str

    @property
    def place(self) -> str:
        return f"{self.page}:{self.line}"


@dataclass(frozen=True)
class Page:
    path: Path

    @property
    def name(self) -> str:
        return str(self.path.relative_to(ROOT))

    @property
    def text(self) -> str:
        return self.path.read_text()

    @property
    def prose(self) -> str:
        """The page without its blocks of code."""
        return FENCE.sub("", self.text)

    @property
    def blocks(self) -> list[Block]:
        found = []
        for match in FENCE.finditer(self.text):
            line = self.text.count("\n", 0, match.start()) + 1
            language, _, attributes = match["info"].strip().partition(" ")
            title = TITLE.search(attributes)
            runs = language == "python" or language == "sh" and "run" in attributes.split()
            found.append(Block(self.name, line, language, title[1] if title else "", runs, match["text"]))
        return found

    @property
    def links(self) -> list[str]:
        return LINK.findall(self.prose)

    @property
    def anchors(self) -> set[str]:
        return {_anchor(heading) for heading in HEADING.findall(self.prose)}

    def rows(self, under: str = "") -> list[list[str]]:
        """The cells of every table row, below a heading or on the whole page, without head and rule."""
        prose = self.prose
        if under:
            start = re.search(rf"^(#+) {re.escape(under)}$", prose, re.MULTILINE)
            assert start, f"{self.name} has no heading {under!r}"
            following = re.search(rf"^#{{1,{len(start[1])}}} ", prose[start.end() :], re.MULTILINE)
            prose = prose[start.end() : start.end() + following.start() if following else None]
        rows: list[list[str]] = []
        lines = prose.splitlines()
        for number, line in enumerate(lines):
            is_head = number + 1 < len(lines) and re.fullmatch(r"\|[-:| ]+\|", lines[number + 1])
            if line.startswith("|") and not is_head and not re.fullmatch(r"\|[-:| ]+\|", line):
                rows.append([cell.strip() for cell in re.split(r"(?<!\\)\|", line)[1:-1]])
        return rows


def _anchor(heading: str) -> str:
    """As GitHub makes it."""
    return re.sub(r"[^\w\- ]", "", heading.lower().strip()).replace(" ", "-")


@cache
def pages() -> tuple[Page, ...]:
    found = [*ROOT.glob("*.md"), *(ROOT / "docs").rglob("*.md")]
    return tuple(Page(path) for path in sorted(found))


def page(name: str) -> Page:
    return next(page for page in pages() if page.name == name)


def codes(text: str) -> list[str]:
    """What stands between backticks."""
    return CODE.findall(text)
