"""Scalars follow YAML 1.2, in files and on the command line."""

from __future__ import annotations

import math
from pathlib import Path
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from weft.config.yaml import read_file, read_scalar, read_value, write


@pytest.mark.parametrize(
    ("text", "value"),
    [
        ("1e-3", 1e-3), ("3", 3), ("-0", 0), ("010", 10), ("0o17", 15), ("0x1F", 31),
        ("12:30", "12:30"), ("no", "no"), ("yes", "yes"), ("on", "on"), ("true", True),
        ("False", False), ("null", None), ("", None), ("~", None), (".5", 0.5), ("5.", 5.0),
        ("1_000", "1_000"), ("2024-01-01", "2024-01-01"), ("-.inf", -math.inf), ("1.2.3", "1.2.3"),
    ],
)  # fmt: skip
def test_scalars(text: str, value: Any) -> None:
    assert read_scalar(text) == value
    assert type(read_scalar(text)) is type(value)


def test_override_values_may_be_lists_mappings_and_quoted_text() -> None:
    assert read_value("[0, 0.5, [1e2, no]]", "here") == [0, 0.5, [100.0, "no"]]
    assert read_value("{kind: sgd, lr: 1e-2}", "here") == {"kind": "sgd", "lr": 0.01}
    assert read_value("'1e-3'", "here") == "1e-3"
    assert read_value("a, b: c", "here") == "a, b: c"


_scalars = (
    st.none()
    | st.booleans()
    | st.integers()
    | st.floats(allow_nan=False)
    | st.text(st.characters(codec="utf-8", exclude_categories=("Cs", "Cc")), max_size=20)
)
_trees = st.dictionaries(
    st.from_regex(r"[a-z_]{1,8}", fullmatch=True),
    st.recursive(_scalars, lambda inner: st.lists(inner, max_size=3), max_leaves=5),
    max_size=5,
)


@given(_trees)
def test_what_is_written_reads_back_the_same(tree: dict[str, Any]) -> None:
    import tempfile

    with tempfile.TemporaryDirectory() as folder:
        path = Path(folder) / "tree.yaml"
        path.write_text(write(tree), encoding="utf-8")
        assert read_file(path)[0] == tree
