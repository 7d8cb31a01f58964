"""Documents of a data set: GSM8K, WikiText-2, the text that comes with weft, or a user's file."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from dataclasses import dataclass
from pathlib import Path

from weft.config.explain import suggest
from weft.data import fetch
from weft.data.cache import checksum
from weft.data.catalog.sets import find
from weft.data.content import read_text
from weft.data.gate import keep_promise
from weft.data.own import own_file
from weft.data.used import checksum_of
from weft.errors import DataError
from weft.families.feedback.options.sections import TENTH, FeedbackData
from weft.families.feedback.sets import rules
from weft.families.feedback.sets.documents import (
    JSON_LINES,
    bare_lines,
    lines,
    objects,
    paragraphs,
    pieces,
    problems,
)


@dataclass(frozen=True)
class Corpus:
    """The documents of a data set, not yet read.

    Attributes:
        keys: split ("train", "val" and, in some sets, "test") -> checksum of everything that its
            documents depend on.
        read: reads the documents of a split.
    """

    keys: Mapping[str, str]
    read: Callable[[str], list[str]]


@dataclass(frozen=True)
class _Known:
    """A data set of the catalogue: its name there, the file of each split, and a reader."""

    name: str
    files: Mapping[str, str]
    parse: Callable[[str, Path], list[str]]


def open_corpus(name: str, data: FeedbackData, *, whole: bool = False) -> Corpus:
    """The corpus that `data.dataset` or an entry of `data.tokenizer_corpora` names.

    Args:
        name: text, gsm8k, wikitext, a kind of `rules`, or the path of a text file, which may be
            relative to a data folder.
        data: gives the data folders, and the share of training documents that is held out.
        whole: whether all of a published training text is used, so that it is the same in all runs.
    Raises:
        DataError: if files are missing and may not be downloaded.
    """
    if name in rules.KINDS:
        drawn = {split: checksum(words) for split, words in rules.keys(name).items()}
        return Corpus(drawn, lambda split: rules.documents(name, split))
    if name not in KNOWN:
        return _of_files(name, data, whole=whole)
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
    return _split_up(Corpus(keys, read), digests["train"], data, whole=whole)


def _of_files(name: str, data: FeedbackData, *, whole: bool) -> Corpus:
    """A user's file, and that of `data.val_file` beside `data.dataset`."""
    names = {"train": name}
    if data.val_file is not None and name == data.dataset:
        names["val"] = data.val_file
    paths = {split: _found(each, data) for split, each in names.items()}
    digests = {split: checksum_of(path) for split, path in paths.items()}
    form = (data.form, data.field or "", data.longest if data.form == "whole" else 0)
    plain = form == ("auto", "", 0)

    def read(split: str) -> list[str]:
        path = paths[split]
        return _documents(read_text(path), path, data)

    kept = digests if plain else {s: checksum(digest, *form) for s, digest in digests.items()}
    keys = {split: checksum("file", digest) for split, digest in kept.items()}
    return _split_up(Corpus(keys, read), kept["train"], data, whole=whole)


def _found(name: str, data: FeedbackData) -> Path:
    """The user's file of that name.

    Raises:
        DataError: if there is none; the error suggests data sets with similar names.
    """
    names = (*KNOWN, *rules.KINDS)
    expected = f"one of {', '.join(names)}, or the path of a file: text in UTF-8, or JSON lines"
    try:
        return own_file(name, root=data.root, expected=expected)
    except DataError as error:
        meant = suggest(name.lower(), names, "")
        error.hint = "\n".join(filter(None, (meant, error.hint)))
        raise


def _documents(text: str, path: Path, data: FeedbackData) -> list[str]:
    """The documents of a user's file."""
    form = data.form
    if form == "auto":
        form = "jsonl" if data.field or JSON_LINES.search(path.name) else "paragraphs"
    if form == "jsonl":
        return objects(text, path, data.field)
    if form == "lines":
        return bare_lines(text)
    return pieces(text, data.longest) if form == "whole" else paragraphs(text, path)


def _split_up(corpus: Corpus, digest: str, data: FeedbackData, *, whole: bool) -> Corpus:
    """The corpus with its own held-out text, or with a share of its training documents held out.

    In the second case its own held-out text becomes the test set.

    Args:
        corpus: with the published splits, or those that the user gave.
        digest: of its training documents.
        data: gives the share that is held out.
        whole: as for `open_corpus`.
    """
    keys, read = corpus.keys, corpus.read
    if "val" in keys and (whole or data.held_out is None):
        return corpus
    own = _held_out(lambda: read("train"), digest, data.held_out or TENTH)
    if "val" not in keys:
        return own
    last = "test" if "test" in keys else "val"
    return Corpus(
        {**own.keys, "test": keys[last]},
        lambda split: read(last) if split == "test" else own.read(split),
    )


KNOWN: Mapping[str, _Known] = {
    "text": _Known("text", {"train": "train"}, paragraphs),
    # As the original has it, the test problems are validated on; no others are held out.
    "gsm8k": _Known("gsm8k", {"train": "train", "val": "test"}, problems),
    "wikitext": _Known("wikitext-2", {"train": "train", "val": "val", "test": "test"}, lines),
}


def _held_out(read: Callable[[], list[str]], digest: str, share: float) -> Corpus:
    """A corpus whose held-out documents are spread evenly over the file."""

    def split_up(split: str) -> list[str]:
        documents = read()
        if len(documents) < 2:
            raise DataError(
                f"there are {len(documents)} documents, of which one must be held out",
                expected="two or more, as `data.form` says",
            )
        count = min(max(1, round(share * len(documents))), len(documents) - 1)
        held = {(2 * i + 1) * len(documents) // (2 * count) for i in range(count)}
        return [one for i, one in enumerate(documents) if (i in held) == (split == "val")]

    return Corpus({s: checksum("held-out", digest, repr(share), s) for s in ("train", "val")},
                  split_up)  # fmt: skip
