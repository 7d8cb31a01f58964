"""Byte-pair encodings: read from a rank file, or learnt from text; `tokenizers` applies them."""

from __future__ import annotations

import base64
import json
from collections.abc import Iterable, Sequence
from importlib import import_module
from itertools import pairwise
from pathlib import Path
from types import ModuleType
from typing import Any

import numpy as np
from numpy.typing import NDArray

from weft.errors import DataError, MissingExtra

#: Numbers of two pieces that are joined to one. Merges are applied in the order of their list.
Merge = tuple[int, int]


def read_ranks(path: Path) -> tuple[bytes, ...]:
    """The pieces of a rank file in the order of their ranks, which are their ids.

    A line is `base64(piece) rank`, as tiktoken writes it.

    Raises:
        DataError: if a line has another form, a rank is missing, or a byte is not a piece.
    """
    try:
        lines = path.read_bytes().splitlines()
    except OSError as error:
        raise _unreadable(str(path), str(error)) from error
    pieces: dict[int, bytes] = {}
    for number, line in enumerate(lines, start=1):
        try:
            piece, rank = line.split()
            pieces[int(rank)] = base64.b64decode(piece, validate=True)
        # binascii.Error, for invalid base64, is a ValueError too.
        except ValueError as error:
            raise _unreadable(f"{path}:{number}", repr(line[:40])) from error
    table = tuple(pieces.get(rank, b"") for rank in range(len(pieces)))
    if not all(table) or len(set(table)) < len(table):
        raise _unreadable(str(path), "ranks or pieces that are missing or stand there twice")
    if not {bytes([value]) for value in range(256)} <= set(table):
        raise _unreadable(str(path), "a table without some of the 256 bytes")
    return table


def merges_of(pieces: Sequence[bytes]) -> list[Merge]:
    """The merges that made each piece, where a piece's number is its rank.

    The two parts of a piece remain when only pieces of lower rank have been joined.

    Raises:
        DataError: if a piece is not the join of two earlier ones.
    """
    ranks = {piece: rank for rank, piece in enumerate(pieces)}
    merges = []
    for rank, piece in enumerate(pieces):
        if len(piece) > 1:
            parts = _parts(piece, ranks, rank)
            if len(parts) != 2:
                raise _unreadable(f"rank {rank}", f"{piece!r}, no join of two earlier pieces")
            merges.append((ranks[parts[0]], ranks[parts[1]]))
    return merges


def _parts(piece: bytes, ranks: dict[bytes, int], limit: int) -> list[bytes]:
    """`piece` with pairs joined, lowest rank first and from the left, down to two parts."""
    parts = [piece[place : place + 1] for place in range(len(piece))]
    while len(parts) > 2:
        candidates = (ranks.get(a + b, limit) for a, b in pairwise(parts))
        rank, place = min((rank, place) for place, rank in enumerate(candidates))
        if rank >= limit:
            break
        parts[place : place + 2] = [parts[place] + parts[place + 1]]
    return parts


def learn(texts: Iterable[str], num_pieces: int) -> NDArray[np.int32]:
    """Byte-level merges learnt from `texts`, the most frequent pair first (Sennrich et al. 2016).

    Args:
        texts: documents; pairs never cross the borders of words as GPT-2 splits text.
        num_pieces: number of pieces wanted, with the 256 bytes.
    Returns: merges (M, 2), each of two pieces with the numbers of `pieces_of`. M is smaller than
        asked if no pair occurs twice any more.
    Raises:
        MissingExtra: if `tokenizers` is not installed.
    """
    library = _library()
    trainer = library.trainers.BpeTrainer(
        vocab_size=num_pieces,
        min_frequency=2,
        show_progress=False,
        initial_alphabet=_characters(),
    )
    learner = _by_words(library, library.models.BPE())
    learner.train_from_iterator(texts, trainer)
    byte_of = {character: value for value, character in enumerate(_characters())}
    learnt = json.loads(learner.to_str())["model"]["merges"]
    numbers = {bytes([value]): value for value in range(256)}
    merges = []
    for pair in learnt:
        first, second = (bytes(byte_of[character] for character in part) for part in pair)
        merges.append((numbers[first], numbers[second]))
        numbers.setdefault(first + second, len(numbers))
    return np.array(merges, np.int32).reshape(-1, 2)


def pieces_of(merges: Iterable[Merge]) -> tuple[bytes, ...]:
    """The 256 bytes, followed by every new piece that a merge makes."""
    pieces = [bytes([value]) for value in range(256)]
    known = set(pieces)
    for first, second in merges:
        piece = pieces[first] + pieces[second]
        if piece not in known:
            known.add(piece)
            pieces.append(piece)
    return tuple(pieces)


def engine(pieces: Sequence[bytes], merges: Iterable[Merge]) -> Any:
    """The `tokenizers.Tokenizer` that encodes text by these merges, in Rust.

    Raises:
        MissingExtra: `tokenizers` is not installed.
    """
    library = _library()
    characters = _characters()
    names = ["".join(characters[value] for value in piece) for piece in pieces]
    model = library.models.BPE(
        vocab={name: number for number, name in enumerate(names)},
        merges=[(names[first], names[second]) for first, second in merges],
    )
    return _by_words(library, model)


def read_json(path: Path) -> Any:
    """The `tokenizers.Tokenizer` of a tokenizer.json.

    Raises:
        DataError: if the file is not a tokenizer.
        MissingExtra: if `tokenizers` is not installed.
    """
    library = _library()
    try:
        return library.Tokenizer.from_file(str(path))
    # The library raises bare exceptions.
    except Exception as error:
        raise DataError(
            "the tokenizer cannot be read",
            where=str(path),
            expected="a tokenizer.json as Hugging Face's `tokenizers` writes it",
            hint=f"found: {error}",
        ) from error


def _characters() -> list[str]:
    """GPT-2's printable character for each byte: itself, or one from U+0100 on."""
    printable = {*range(33, 127), *range(161, 173), *range(174, 256)}
    spare = (chr(256 + count) for count in range(256))
    return [chr(value) if value in printable else next(spare) for value in range(256)]


def _by_words(library: ModuleType, model: object) -> Any:
    """A tokenizer that splits text into words as GPT-2 does, and applies `model` to each."""
    made = library.Tokenizer(model)
    made.pre_tokenizer = library.pre_tokenizers.ByteLevel(add_prefix_space=False)
    return made


def _library() -> ModuleType:
    try:
        return import_module("tokenizers")
    except ImportError as error:
        raise MissingExtra("tokenizers", "text", "a byte-pair encoding (bpe, gpt2)") from error


def _unreadable(where: str, found: str) -> DataError:
    return DataError(
        "the rank file cannot be read",
        where=where,
        expected="lines `base64(piece) rank`, ranks from 0 on, all 256 bytes among the pieces",
        hint=f"found: {found}",
    )
