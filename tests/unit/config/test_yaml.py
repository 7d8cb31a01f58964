"""Scalars follow YAML 1.2, in files and on the command line."""

from __future__ import annotations

import math
from pathlib import Path
from typing import Any

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from weft.config.yaml import read_file, read_scalar, read_value, write
from weft.errors import ConfigError


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
    st.text("abcxyz_", min_size=1, max_size=8),
    st.recursive(_scalars, lambda inner: st.lists(inner, max_size=3), max_leaves=5),
    max_size=5,
)


@given(_trees)
@settings(max_examples=40)
def test_what_is_written_reads_back_the_same(tree: dict[str, Any]) -> None:
    import tempfile

    with tempfile.TemporaryDirectory() as folder:
        path = Path(folder) / "tree.yaml"
        path.write_text(write(tree), encoding="utf-8")
        assert read_file(path)[0] == tree


@pytest.mark.parametrize(
    ("text", "line", "said"),
    [
        ("a: 1\nb: 3\0\n", 2, "control character '\\x00'"),
        ("a: 1 # \x1b[31m\n", 1, "control character '\\x1b'"),
        ("b: &b {k: 1}\na: {<<: *b}\n", 2, "merge keys (`<<`)"),
        ("a: &a [x,\n *a]\n", 1, "inside of what it stands for"),
        ("a:\n " + "[" * 99, 2, "levels"),
        ("a: 1\nb: " + "9" * 5000, 2, "a number of 5,000 digits"),
        ("a: 1\nb: !!set {a}", 2, "the tag"),
        ('a: "\\ud800"', 1, "UTF-8 cannot write"),
    ],
)
def test_what_no_config_needs_is_refused_with_its_line(
    text: str, line: int, said: str, tmp_path: Path
) -> None:
    path = tmp_path / "my.yaml"
    path.write_text(text)
    with pytest.raises(ConfigError) as caught:
        read_file(path)
    assert caught.value.where == f"{path}:{line}"
    assert said in caught.value.message


def test_aliases_are_read_until_they_stand_for_too_much(tmp_path: Path) -> None:
    path = tmp_path / "my.yaml"
    path.write_text("a: &a [1, 2]\nb: [*a, *a]\n")
    assert read_file(path)[0] == {"a": [1, 2], "b": [[1, 2], [1, 2]]}
    laughs = "".join(f"a{i + 1}: &a{i + 1} [{', '.join([f'*a{i}'] * 10)}]\n" for i in range(9))
    path.write_text(f"a0: &a0 [x, x]\n{laughs}")
    with pytest.raises(ConfigError, match="aliases stand for more"):
        read_file(path)


def test_a_byte_order_mark_is_no_part_of_the_first_key_and_latin_1_is_told(tmp_path: Path) -> None:
    path = tmp_path / "my.yaml"
    path.write_bytes(b"\xef\xbb\xbfa: 1\n")
    assert read_file(path)[0] == {"a": 1}
    path.write_bytes(b"a: 1\nb: caf\xe9\n")
    with pytest.raises(ConfigError) as caught:
        read_file(path)
    assert caught.value.where == f"{path}:2"


def test_a_file_is_read_anew_once_it_changed_and_what_was_read_is_the_reader_s(
    tmp_path: Path,
) -> None:
    file = tmp_path / "x.yaml"
    file.write_text("a: {b: [1, 2]}\n")
    values, lines = read_file(file)
    values["a"]["b"].append(3)
    lines.clear()
    assert read_file(file) == ({"a": {"b": [1, 2]}}, {("a",): 1, ("a", "b"): 1})
    file.write_text("a: {b: [1, 4]}\n")
    assert read_file(file)[0] == {"a": {"b": [1, 4]}}
