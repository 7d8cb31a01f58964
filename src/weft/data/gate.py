"""Checks that the splits of a data set fit together, before anything is trained or written."""

# N items of a split

from __future__ import annotations

from collections.abc import Collection, Mapping, Sequence
from dataclasses import dataclass, field
from typing import Any

import numpy as np
from numpy.typing import NDArray

from weft.config.sections import Layout
from weft.errors import DataError

MOST_CLASSES = 10_000
"""A set may have this many classes, or as many as training items if there are more of them."""


@dataclass(frozen=True)
class Part:
    """What is known of one split of a set.

    Attributes:
        size: number of items.
        facts: by name, what must be equal in all splits, such as a shape.
        labels: class numbers (N,), if there are labels.
    """

    size: int
    facts: Mapping[str, object] = field(default_factory=dict)
    labels: NDArray[np.int64] | None = None


def hold(parts: Mapping[str, Part], where: str, needed: Collection[str] = ("train", "test")) -> int:
    """Checks that the splits belong to one set.

    Args:
        parts: split -> what is known of it, "train" first.
        where: the file or set they are from.
        needed: splits that must be there.

    Returns: number of classes: 1 + the largest training label; 0 without labels.

    Raises:
        DataError: if a split is missing, empty or unlike "train", or a label is negative, absurdly
            large, or that of no training item.
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
        compared = [
            {**one.facts, "labels": "none" if one.labels is None else "some"}
            for one in (part, reference)
        ]
        for name in dict.fromkeys((*compared[0], *compared[1])):
            mine, other = (facts.get(name, "none") for facts in compared)
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
    """Renumbers labels so that a number means the same class in every split.

    Args:
        parts: split -> labels (N,), and the class names they index; "train" first.
        where: the file or set they are from.
        pooled: whether the splits will be mixed, so that each may have classes the others lack.

    Returns: split -> labels (N,), and the class names they index: in the order of the first split,
        then the others' further ones.

    Raises:
        DataError: if a split has items of a class without training items.
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
        # A class without items may be missing from the order.
        table = np.array([number.get(name, -1) for name in names], np.int64)
        result[split] = table[labels]
    return result, tuple(order)


def keep_promise(name: str, found: Mapping[str, object], promised: Mapping[str, object]) -> None:
    """Compares what was read of a set with what the catalogue says of it.

    Args:
        name: of the set and split, for the message.
        found: facts by name, such as `rows`.
        promised: those of the catalogue; only these are compared.

    Raises:
        DataError: if a fact differs.
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
    """Whether the last axis of pictures holds their channels.

    Args:
        shape: of the pictures, 4 axes, items first.
        layout: the order that the user gave. If None, a last axis of 1 or 3 is taken as channels
            unless axis 1 has that size, too; a last axis of more than 4 never is.
        where: the file.

    Raises:
        DataError: if `layout` is None and the shape is ambiguous.
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
    """The error for classes without training items."""
    return DataError(
        f"`{split}` has items of {len(extra)} class(es) that `{first}` has none of: "
        + _listed(extra),
        where=where,
        expected=f"classes that are in `{first}`: {_listed(known)}",
    )


def _listed(names: Sequence[Any], most: int = 8) -> str:
    shown = ", ".join(str(name)[:40] for name in names[:most])
    return shown + (", …" if len(names) > most else "")
