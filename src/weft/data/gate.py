"""Holds the parts of a data set against each other, before anything is trained or written."""

# N items of a part

from __future__ import annotations

from collections.abc import Collection, Mapping, Sequence
from dataclasses import dataclass, field
from typing import Any

import numpy as np
from numpy.typing import NDArray

from weft.config.sections import Layout
from weft.errors import DataError

MOST_CLASSES = 10_000
"""A set with fewer training items than this may have so many classes, any other one an item."""


@dataclass(frozen=True)
class Part:
    """What is known of one part of a set.

    Attributes:
        size: its items.
        facts: what must be the same in every part, by name, such as a shape.
        labels: whole numbers (N,), where there are any.
    """

    size: int
    facts: Mapping[str, object] = field(default_factory=dict)
    labels: NDArray[np.int64] | None = None


def hold(parts: Mapping[str, Part], where: str, needed: Collection[str] = ("train", "test")) -> int:
    """Sees to it that the parts are of one set.

    Args:
        parts: split -> what is known of it, "train" first.
        where: the file or set they are from.
        needed: the splits there must be.
    Returns: number of classes, counted by the labels of all parts; 0 without labels.
    Raises:
        DataError: a part is absent, empty or of another form than "train", or a label is negative,
            absurdly large, or in no training item.
    """
    if absent := [split for split in needed if split not in parts]:
        raise DataError(
            f"there is no `{absent[0]}` part in the data",
            where=where,
            expected=f"the parts {', '.join(needed)}",
            hint=f"found: {', '.join(parts) or 'none'}",
        )
    first, reference = next(iter(parts.items()))
    for split, part in parts.items():
        if not part.size:
            raise DataError(f"the part `{split}` is empty", where=where, expected="items in it")
        for name, fact in part.facts.items():
            if isinstance(fact, tuple) and 0 in fact:
                raise DataError(
                    f"the items of `{split}` are empty: {name} {fact}",
                    where=where,
                    expected="no axis of length 0",
                )
        told = [
            {**one.facts, "labels": "none" if one.labels is None else "some"}
            for one in (part, reference)
        ]
        for name in dict.fromkeys((*told[0], *told[1])):
            mine, other = (facts.get(name, "none") for facts in told)
            if mine != other:
                raise DataError(
                    f"`{split}` and `{first}` do not fit together",
                    where=where,
                    expected=f"the same {name} in all parts",
                    hint=f"found: {mine} in `{split}`, {other} in `{first}`",
                )
    return _count_classes(parts, where)


def numbered(
    parts: Mapping[str, tuple[NDArray[np.int64], Sequence[str]]], where: str, *, pooled: bool
) -> tuple[dict[str, NDArray[np.int64]], tuple[str, ...]]:
    """Labels that mean the same in every part, whatever order each part lists its classes in.

    Args:
        parts: split -> labels (N,), and the names they number; "train" first.
        where: the file or set they are from.
        pooled: whether the parts will be mixed, so that each may have classes of its own.
    Returns: split -> labels by the order in which the first part lists the classes; that order.
    Raises:
        DataError: a part has items of a class that no training item has.
    """
    used = {
        split: tuple(names[number] for number in np.unique(labels))
        for split, (labels, names) in parts.items()
    }
    first, *others = parts
    for split in others:
        extra = [name for name in used[split] if name not in used[first]]
        if extra and not pooled:
            raise _unlearnt(split, first, extra, used[first], where)
    order = dict.fromkeys(parts[first][1])
    for split in others:
        order |= dict.fromkeys(name for name in used[split] if name not in order)
    number = {name: index for index, name in enumerate(order)}
    result = {}
    for split, (labels, names) in parts.items():
        # A name that no item has may be missing from the order.
        table = np.array([number.get(name, -1) for name in names], np.int64)
        result[split] = table[labels]
    return result, tuple(order)


def keep_promise(name: str, found: Mapping[str, object], promised: Mapping[str, object]) -> None:
    """Holds what was read of a set against what the catalogue says of it.

    Args:
        name: of the set, and of the split.
        found, promised: by name, such as `rows`; what is not promised is not compared.
    Raises:
        DataError: they differ.
    """
    for fact, value in promised.items():
        if found[fact] != value:
            raise DataError(
                f"the files of {name} do not hold what the catalogue says",
                where=name,
                expected=f"{fact}: {value}",
                hint=f"found: {found[fact]}",
            )


def channels_last(shape: tuple[int, ...], layout: Layout | None, where: str) -> bool:
    """Whether the last axis of pictures of shape (N, ., ., .) is that of their channels.

    Args:
        shape: theirs.
        layout: what the user says; without it, a last axis of 1 or 3 is taken for channels if the
            first cannot be, as that is how grey and coloured pictures are.
        where: the file.
    Raises:
        DataError: nobody said, and it could be either.
    """
    if layout is not None:
        return layout == "channels_last"
    first, last = shape[1], shape[3]
    if not 1 <= last <= 4:
        return False
    if last in (1, 3) and first not in (1, 3):
        return True
    raise DataError(
        f"in pictures of shape {shape}, the last axis could be channels",
        where=where,
        expected="data.layout: channels_first (N, C, H, W) or channels_last (N, H, W, C)",
        hint=f"channels_last reads pictures of {first} x {shape[2]} pixels and {last} channel(s)\n"
        f"channels_first reads pictures of {shape[2]} x {last} pixels and {first} channel(s)",
    )


def _count_classes(parts: Mapping[str, Part], where: str) -> int:
    labels = {split: part.labels for split, part in parts.items() if part.labels is not None}
    if not labels:
        return 0
    used = {split: np.unique(one) for split, one in labels.items()}
    first = next(iter(used))
    most = max(MOST_CLASSES, parts[first].size)
    for split, found in used.items():
        wrong = found[(found < 0) | (found >= most)]
        if len(wrong):
            raise DataError(
                f"`{split}` has the label {wrong[0]}",
                where=where,
                expected="classes numbered from 0"
                + ("" if wrong[0] < 0 else f", at most {most:,} of them"),
            )
        extra = np.setdiff1d(found, used[first])
        if len(extra):
            raise _unlearnt(split, first, extra.tolist(), used[first].tolist(), where)
    return 1 + int(used[first][-1])


def _unlearnt(
    split: str, first: str, extra: Sequence[Any], known: Sequence[Any], where: str
) -> DataError:
    """The error for classes that cannot be learnt, as no training item has them."""
    return DataError(
        f"`{split}` has items of {len(extra)} class(es) that `{first}` has none of: "
        + _listed(extra),
        where=where,
        expected=f"classes that are in `{first}`: {_listed(known)}",
    )


def _listed(names: Sequence[Any], most: int = 8) -> str:
    shown = ", ".join(str(name)[:40] for name in names[:most])
    return shown + (", …" if len(names) > most else "")
