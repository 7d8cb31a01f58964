"""Documents by the name of a data set: GSM8K, WikiText-2, the text that ships, a user's file."""

from __future__ import annotations

import re
from collections.abc import Callable, Iterator, Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from weft.data import fetch
from weft.data.cache import checksum
from weft.data.catalog.sets import find
from weft.data.content import one_ending, read_text
from weft.data.gate import keep_promise
from weft.data.own import own_file
from weft.data.records import Fields, parse
from weft.data.used import checksum_of
from weft.errors import DataError
from weft.families.feedback.options.sections import TENTH, FeedbackData
from weft.families.feedback.sets import rules

_JSON_LINES = re.compile(r"\.(jsonl|ndjson)(\.gz)?$")
_PROBLEM: Fields = {"question": str, "answer": str}
_BLANK_LINES = re.compile(r"\n[^\S\n]*(?:\n[^\S\n]*)*\n")


@dataclass(frozen=True)
class Corpus:
    """The documents of a data set, not yet read.

    Attributes:
        keys: split ("train", "val" and, of some sets, "test") -> checksum of all that its
            documents depend on.
        read: the documents of a split.
    """

    keys: Mapping[str, str]
    read: Callable[[str], list[str]]


@dataclass(frozen=True)
class _Known:
    """A set of the catalogue: its name there, the file of each split, and how to read one."""

    name: str
    files: Mapping[str, str]
    parse: Callable[[str, Path], list[str]]


def open_corpus(name: str, data: FeedbackData, *, whole: bool = False) -> Corpus:
    """The corpus that `data.dataset` or an entry of `data.tokenizer_corpora` names.

    Args:
        name: text, gsm8k, wikitext, a kind of `rules`, or the path of a text file, also below a
            data folder.
        data: where to look, and what share of the training documents is held out.
        whole: whether a published training text stays whole, which makes it the same for all runs.
    Raises:
        DataError: files are missing and will not be downloaded.
    """
    if name in rules.KINDS:
        drawn = {split: checksum(words) for split, words in rules.keys(name).items()}
        return Corpus(drawn, lambda split: rules.documents(name, split))
    if name not in KNOWN:
        expected = f"one of {', '.join(KNOWN)}, or the path of a file: text in UTF-8, or JSON lines"
        path = own_file(name, root=data.root, expected=expected)
        digest = checksum_of(path)
        form = objects if _JSON_LINES.search(path.name) else paragraphs
        return _held_out(lambda: form(read_text(path), path), digest, data.held_out or TENTH)
    known = KNOWN[name]
    location = fetch.expect(known.name, root=data.root, download=data.download)
    digests = {s: location.form.splits[file][0].sha256 for s, file in known.files.items()}

    def read(split: str) -> list[str]:
        file = known.files[split]
        _, [path] = fetch.require(known.name, file, root=data.root, download=data.download)
        documents = known.parse(read_text(path), path)
        promised = find(known.name).sizes[file]
        keep_promise(f"{name} {split}", {"documents": len(documents)}, {"documents": promised})
        return documents

    keys = {split: checksum(name, digest) for split, digest in digests.items()}
    if "val" in keys and (whole or data.held_out is None):
        return Corpus(keys, read)
    own = _held_out(lambda: read("train"), digests["train"], data.held_out or TENTH)
    if "val" not in keys:
        return own
    last = "test" if "test" in keys else "val"
    return Corpus(
        {**own.keys, "test": keys[last]},
        lambda split: read(last) if split == "test" else own.read(split),
    )


def problems(text: str, path: Path) -> list[str]:
    """GSM8K: a JSON object a line; its question and answer, each after its label.

    Raises:
        DataError: a line is no object with texts `question` and `answer`.
    """
    return [_problem(values) for values in _each_object(text, path, _PROBLEM)]


def objects(text: str, path: Path) -> list[str]:
    """A user's JSON lines: the `text` of each object, or its `question` and `answer`.

    Raises:
        DataError: a line is no object with these texts.
    """
    form = {"text": str} if '"text"' in text.partition("\n")[0] else _PROBLEM
    found = _each_object(text, path, form)
    return [values["text"] if form is not _PROBLEM else _problem(values) for values in found]


def _each_object(text: str, path: Path, fields: Fields) -> Iterator[dict[str, Any]]:
    for number, line in enumerate(text.split("\n"), start=1):
        if line.strip():
            yield parse(line, f"{path}:{number}", fields)


def _problem(values: Mapping[str, Any]) -> str:
    return f"Question: {values['question']}\nAnswer: {values['answer']}"


def lines(text: str, path: Path) -> list[str]:
    """WikiText: every line that is not blank, with its leading space and its newline."""
    return [f"{line}\n" for line in text.split("\n") if line.strip()]


def paragraphs(text: str, path: Path) -> list[str]:
    """Plain text: what stands between blank lines."""
    parts = _BLANK_LINES.split(one_ending(text))
    return [part.strip("\n") for part in parts if part.strip()]


KNOWN: Mapping[str, _Known] = {
    "text": _Known("text", {"train": "train"}, paragraphs),
    # As the original has it, the test problems are validated on; no others are held out.
    "gsm8k": _Known("gsm8k", {"train": "train", "val": "test"}, problems),
    "wikitext": _Known("wikitext-2", {"train": "train", "val": "val", "test": "test"}, lines),
}


def _held_out(read: Callable[[], list[str]], digest: str, share: float) -> Corpus:
    """The corpus whose held-out documents are spread evenly over the file."""

    def split_up(split: str) -> list[str]:
        documents = read()
        if len(documents) < 2:
            raise DataError(
                f"there are {len(documents)} documents, and one is to be held out",
                expected="documents with blank lines between them",
            )
        count = min(max(1, round(share * len(documents))), len(documents) - 1)
        held = {(2 * i + 1) * len(documents) // (2 * count) for i in range(count)}
        return [one for i, one in enumerate(documents) if (i in held) == (split == "val")]

    return Corpus({s: checksum("held-out", digest, repr(share), s) for s in ("train", "val")},
                  split_up)  # fmt: skip
