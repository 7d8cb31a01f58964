"""Reads documents from a file: JSON lines, lines, paragraphs, or one long text that is split."""

from __future__ import annotations

import re
from collections.abc import Iterator, Mapping
from pathlib import Path
from typing import Any

from weft.data.content import one_ending
from weft.data.guard import unreadable
from weft.data.records import Fields, parse
from weft.errors import DataError

JSON_LINES = re.compile(r"\.(jsonl|ndjson)(\.gz)?$")
_PROBLEM: Fields = {"question": str, "answer": str}
_BLANK_LINES = re.compile(r"\n[^\S\n]*(?:\n[^\S\n]*)*\n")


def problems(text: str, path: Path) -> list[str]:
    """GSM8K, one JSON object per line: its question and answer, each after its label.

    Raises:
        DataError: if a line is not an object with texts `question` and `answer`.
    """
    return [_problem(values) for values in _each_object(text, path, _PROBLEM)]


def objects(text: str, path: Path, field: str | None = None) -> list[str]:
    """A user's JSON lines: one text of each object, or its `question` and `answer`.

    Args:
        text: of the file.
        path: of the file.
        field: key of the text; None: `text` if the first object has it, else both.
    Raises:
        DataError: if a line is not an object with these texts.
    """
    if field is None:
        first: Mapping[str, Any] = next(_each_object(text, path, {}), {})
        if "text" not in first and first.keys() & _PROBLEM.keys():
            return problems(text, path)
        if first and "text" not in first:
            raise _nameless(first, path)
    name = field or "text"
    return [values[name] for values in _each_object(text, path, {name: str})]


def _nameless(first: Mapping[str, Any], path: Path) -> DataError:
    """The error of objects none of whose texts has a name that is known."""
    expected = "JSON objects with `text`, or `question` and `answer`"
    error = unreadable(path, expected, f"keys {', '.join(first)}")
    texts = [key for key, value in first.items() if isinstance(value, str)]
    if texts:
        error.hint += f"\n`data.field={texts[0]}` reads that one"
    return error


def lines(text: str, path: Path) -> list[str]:
    """WikiText: every line that is not blank, with its leading space and its newline."""
    return [f"{line}\n" for line in text.split("\n") if line.strip()]


def bare_lines(text: str) -> list[str]:
    """Every line that is not blank, without its end."""
    return [line for line in one_ending(text).split("\n") if line.strip()]


def paragraphs(text: str, path: Path) -> list[str]:
    """Plain text: the paragraphs between blank lines."""
    parts = _BLANK_LINES.split(one_ending(text))
    return [part.strip("\n") for part in parts if part.strip()]


def pieces(text: str, longest: int) -> list[str]:
    """One long text split into documents, whose concatenation is the text.

    Each document ends after its last line feed, or else after its last space, or else anywhere.

    Args:
        text: any text.
        longest: largest number of characters in a document.
    """
    text, found, start = one_ending(text), [], 0
    while start < len(text):
        end = start + longest
        if end < len(text):
            cuts = (text.rfind(mark, start, end) + 1 for mark in ("\n", " "))
            end = next((cut for cut in cuts if cut > start), end)
        found.append(text[start:end])
        start = end
    return [piece for piece in found if piece.strip()]


def _each_object(text: str, path: Path, fields: Fields) -> Iterator[dict[str, Any]]:
    for number, line in enumerate(text.split("\n"), start=1):
        if line.strip():
            yield parse(line, f"{path}:{number}", fields)


def _problem(values: Mapping[str, Any]) -> str:
    return f"Question: {values['question']}\nAnswer: {values['answer']}"
