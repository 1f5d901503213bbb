"""Tests that the pages name are there."""

import re

from tests.docs.pages import ROOT, codes, pages

NAMED = re.compile(r"(tests/[\w/]+\.py)(?:::(\w+))?")


def test_every_test_that_a_page_names_is_there():
    missing = [
        f"{page.name}: {code}"
        for page in pages()
        for code in codes(page.prose)
        if (named := NAMED.fullmatch(code)) and not is_there(*named.groups())
    ]
    assert missing == []


def is_there(file: str, test: str | None) -> bool:
    path = ROOT / file
    return path.exists() and (test is None or f"def {test}(" in path.read_text())


def test_every_row_of_the_failure_matrix_names_a_test():
    [testing] = [page for page in pages() if page.name == "docs/testing.md"]
    rows = testing.rows(under="The failure matrix")
    assert len(rows) >= 30
    assert [row for row in rows if not any(NAMED.fullmatch(code) for code in codes(row[-1]))] == []
