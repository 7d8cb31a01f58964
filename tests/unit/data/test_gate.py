"""Parts of a data set fit together, or are refused with what is wrong."""

from __future__ import annotations

import tracemalloc
from collections.abc import Mapping
from pathlib import Path
from typing import Any

import numpy as np
import pytest

from weft.data.gate import MOST_CLASSES, Part, channels_last, hold, keep_promise, numbered
from weft.data.series import matched, read_ts
from weft.errors import DataError


def labelled(**labels: list[int]) -> dict[str, Part]:
    return {split: Part(len(one), {}, np.array(one, np.int64)) for split, one in labels.items()}


def test_parts_that_fit_give_the_number_of_classes() -> None:
    assert hold(labelled(train=[0, 2, 1], val=[2], test=[0, 1]), "f.npz") == 3
    assert hold({"train": Part(3), "test": Part(1)}, "f.npz") == 0


@pytest.mark.parametrize(
    ("parts", "says"),
    [
        (labelled(train=[0, 1]), "no `test` part"),
        (labelled(test=[0, 1]), "no `train` part"),
        ({}, "no `train` part"),
        (labelled(train=[], test=[0]), "`train` is empty"),
        (labelled(train=[0], val=[], test=[0]), "`val` is empty"),
        (labelled(train=[0, -1], test=[0]), "label -1"),
        (labelled(train=[0, 1], test=[0, -3]), "label -3"),
        (labelled(train=[0, 10**9], test=[0]), "label 1000000000"),
        (labelled(train=[0, 1], test=[0, 2**62]), f"label {2**62}"),
        (labelled(train=[0, 1], test=[0, 2, 3]), "2 class(es) that `train` has none of: 2, 3"),
        (labelled(train=[0, 2], val=[1], test=[0]), "1 class(es) that `train` has none of: 1"),
        ({"train": Part(1, {"shape": (3, 8)}), "test": Part(1, {"shape": (3, 9)})}, "(3, 9)"),
        ({"train": Part(1, {"dtype": "uint8"}), "test": Part(1, {"dtype": "float32"})}, "uint8"),
        ({"train": Part(1, {"arrays": "X, y"}), "test": Part(1)}, "arrays"),
        ({"train": Part(1, {"shape": (3, 0)}), "test": Part(1, {"shape": (3, 0)})}, "are empty"),
        ({"train": Part(1), "test": Part(1, labels=np.array([3]))}, "same labels"),
    ],
)
def test_parts_that_do_not_fit_are_refused(parts: Mapping[str, Part], says: str) -> None:
    with pytest.raises(DataError) as caught:
        hold(parts, "f.npz")
    assert says in str(caught.value)
    assert "f.npz" in str(caught.value)
    assert caught.value.expected
    assert caught.value.exit_code == 2


def test_a_label_near_a_thousand_million_takes_no_memory() -> None:
    parts = labelled(train=[0, 999_999_999], test=[0])
    with pytest.raises(DataError):
        hold(parts, "f.npz")  # once before: what it imports is not counted
    tracemalloc.start()
    with pytest.raises(DataError):
        hold(parts, "f.npz")
    peak = tracemalloc.get_traced_memory()[1]
    tracemalloc.stop()
    assert peak < 1e6


def test_as_many_classes_as_training_items_are_never_too_many() -> None:
    every = np.arange(MOST_CLASSES + 5)
    assert hold({"train": Part(len(every), {}, every), "test": Part(1, {}, every[:1])}, "f") == len(
        every
    )


def test_labels_mean_the_same_in_whatever_order_a_part_lists_its_classes() -> None:
    one, other = np.array([0, 1, 1]), np.array([2, 0])
    parts = {"train": (one, ("up", "down")), "test": (other, ("down", "never", "up"))}
    labels, classes = numbered(parts, "S", pooled=False)
    assert classes == ("up", "down")
    assert labels["train"].tolist() == [0, 1, 1]
    assert labels["test"].tolist() == [0, 1]


def test_a_class_in_test_alone_is_told_unless_all_parts_are_mixed() -> None:
    parts = {"train": (np.array([0]), ("a", "c")), "test": (np.array([1]), ("a", "b"))}
    with pytest.raises(DataError, match="none of: b"):
        numbered(parts, "S", pooled=False)
    labels, classes = numbered(parts, "S", pooled=True)
    assert classes == ("a", "c", "b")
    assert labels["test"].tolist() == [2]
    listed = {"train": (np.array([0]), ("a", "b")), "test": (np.array([1]), ("a", "b"))}
    with pytest.raises(DataError, match="none of: b"):
        numbered(listed, "S", pooled=False)


@pytest.mark.parametrize(
    ("shape", "layout", "last"),
    [
        ((9, 3, 8, 8), None, False),
        ((9, 8, 8, 3), None, True),
        ((9, 8, 8, 1), None, True),
        ((9, 8, 8, 4), "channels_last", True),
        ((9, 8, 8, 4), "channels_first", False),
        ((9, 3, 8, 3), "channels_first", False),
        ((9, 8, 8, 4), None, None),
        ((9, 8, 8, 2), None, None),
        ((9, 3, 8, 3), None, None),
        ((9, 1, 8, 4), None, None),
    ],
)
def test_channels_are_where_the_shape_or_the_user_says(
    shape: tuple[int, ...], layout: Any, last: bool | None
) -> None:
    if last is not None:
        assert channels_last(shape, layout, "f.npz") is last
        return
    with pytest.raises(DataError, match="could be channels") as caught:
        channels_last(shape, layout, "f.npz")
    assert "data.layout" in caught.value.expected


def test_what_the_catalogue_promises_is_compared() -> None:
    keep_promise("ETTh1", {"rows": 5, "other": 1}, {"rows": 5})
    with pytest.raises(DataError, match="files of ETTh1") as caught:
        keep_promise("ETTh1", {"rows": 4}, {"rows": 5})
    assert caught.value.expected == "rows: 5"


def test_series_of_other_channels_do_not_fit(tmp_path: Path) -> None:
    found = {}
    for split, line in (("train", "1,2:3,4:a"), ("test", "1,2:a")):
        path = tmp_path / f"{split}.ts"
        path.write_text(f"@classLabel true a\n@data\n{line}\n")
        found[split] = read_ts(path)
    with pytest.raises(DataError, match="do not fit together"):
        matched(found, "S")
