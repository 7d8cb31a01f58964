"""What documents point at is there, pictures say in words what they show, and weigh little."""

from __future__ import annotations

import re
from pathlib import Path

import pytest

ROOT = Path(__file__).parents[2]
DOCUMENTS = sorted(
    path
    for pattern in ("*.md", "docs/**/*.md", "papers/*/*.md", "src/weft/families/*/*.md")
    for path in ROOT.glob(pattern)
)
LINK = re.compile(r"(!?)\[([^\]]*)\]\(([^)\s]+)\)")
IMAGE = re.compile(r"<img src=\"([^\"]+)\"[^>]*?(?: alt=\"([^\"]*)\")?>")


def targets(text: str) -> list[str]:
    return [each[2] for each in LINK.findall(text)] + [each[0] for each in IMAGE.findall(text)]


@pytest.mark.parametrize("path", DOCUMENTS, ids=lambda path: str(path.relative_to(ROOT)))
def test_links_lead_to_files_that_are_there(path: Path) -> None:
    text = re.sub(r"```.*?```|`[^`\n]*`", "", path.read_text(), flags=re.DOTALL)
    inside = [each.partition("#")[0] for each in targets(text) if "://" not in each]
    assert [each for each in inside if each and not (path.parent / each).exists()] == []


@pytest.mark.parametrize("path", DOCUMENTS, ids=lambda path: str(path.relative_to(ROOT)))
def test_links_lead_to_headings_that_are_there(path: Path) -> None:
    places = [each.partition("#") for each in targets(path.read_text()) if "://" not in each]
    there = {
        name: anchors(path.parent / name if name else path) for name, _, place in places if place
    }
    assert [
        name + "#" + place for name, _, place in places if place and place not in there[name]
    ] == []


def anchors(page: Path) -> set[str]:
    """The names by which GitHub knows a page's headings."""
    text = re.sub(r"```.*?```", "", page.read_text(), flags=re.DOTALL)
    titles = re.findall(r"^#+ (.*)$", text, flags=re.MULTILINE)
    return {re.sub(r"[^\w\- ]", "", each.strip().lower()).replace(" ", "-") for each in titles}


def test_pictures_are_shown_told_in_words_and_small() -> None:
    pictures = {path.name for path in (ROOT / "docs" / "pictures").iterdir()}
    text = "".join((ROOT / name).read_text() for name in ("README.md", *_pages()))
    shown = [(alt, to) for mark, alt, to in LINK.findall(text) if mark] + [
        (alt, to) for to, alt in IMAGE.findall(text)
    ]
    assert {Path(to).name for _, to in shown} == pictures
    assert all(len(alt) > 30 for alt, _ in shown)
    assert sum((ROOT / "docs" / "pictures" / name).stat().st_size for name in pictures) < 400_000


def _pages() -> list[str]:
    return [str(path.relative_to(ROOT)) for path in (ROOT / "docs").glob("*.md")]
