"""Links lead somewhere, pictures and tests that documents name are there."""

import re

import pytest

from tests.docs.pages import ROOT, Page, codes, page, pages

PATH = re.compile(
    r"(?:runtime|tools|tests|examples|docs|adapters|forensics|aetheris_project|docker)/[\w./-]+\.\w+(?:::\w+)?"
)


@pytest.mark.parametrize("document", pages(), ids=lambda document: document.name)
def test_links_resolve(document: Page):
    for link in document.links:
        if re.match(r"[a-z]+:", link):
            continue
        target, _, anchor = link.partition("#")
        path = (document.path.parent / target).resolve() if target else document.path
        assert path.exists(), f"{document.name} links to {link}"
        if anchor:
            assert anchor in Page(path).anchors, f"{document.name} links to {link}"


@pytest.mark.parametrize("document", pages(), ids=lambda document: document.name)
def test_files_and_tests_that_are_named_exist(document: Page):
    for code in codes(document.prose):
        if not PATH.fullmatch(code):
            continue
        file, _, name = code.partition("::")
        assert (ROOT / file).exists(), f"{document.name} names {file}"
        if name:
            assert f"def {name}(" in (ROOT / file).read_text(), f"{document.name} names {code}"


def test_the_index_leads_to_every_page():
    index = page("docs/README.md")
    linked = {(index.path.parent / link.partition("#")[0]).resolve() for link in index.links}
    missing = (
        {document.name for document in pages() if document.path.is_relative_to(ROOT / "docs")}
        - {str(path.relative_to(ROOT)) for path in linked if path.is_relative_to(ROOT)}
        - {"docs/README.md"}
    )
    assert missing == set()


def test_the_readme_is_under_a_page():
    assert len(page("README.md").text.splitlines()) <= 100
