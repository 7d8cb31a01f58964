"""What the fast reader of block YAML reads is what a YAML parser reads; else it says it cannot."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from weft import api, families
from weft.config.load import load
from weft.config.yaml import read_file, write
from weft.errors import ConfigError
from weft.run.block import read_block

KEYS = st.text("abyn_.-019 é", min_size=1, max_size=5)
SCALARS = (
    st.none() | st.booleans() | st.integers() | st.floats(allow_nan=False)
    | st.text("ab 01.:#-'\"[]{}~e+x\n\té&*!|>%@,=", max_size=8)
    | st.sampled_from(["null", "1e3", "- a"])
)  # fmt: skip
TREES = st.recursive(
    st.dictionaries(KEYS, SCALARS | st.lists(SCALARS, max_size=3), max_size=4),
    lambda below: st.dictionaries(KEYS, below, max_size=3),
    max_leaves=6,
)


def parsed(text: str, folder: Path) -> Any:
    file = folder / "x.yaml"
    file.write_text(text, encoding="utf-8")
    try:
        return read_file(file)[0]
    except (ConfigError, ValueError) as error:
        return error


@pytest.fixture(scope="module")
def folder(tmp_path_factory: pytest.TempPathFactory) -> Path:
    return tmp_path_factory.mktemp("block")


@given(tree=TREES)
def test_whatever_weft_writes_is_read_as_yaml_reads_it_or_left_to_yaml(
    folder: Path, tree: dict[str, Any]
) -> None:
    text = write(tree)
    found = read_block(text)
    assert found is None or repr(found) == repr(parsed(text, folder))


@given(
    lines=st.lists(
        st.sampled_from(
            ["a:", "a: 1", "b: x y", "  a: 2", "  b:", "    c: '3'", "- 1", "  - a", "- ", "b: []",
             "c: {}", "# d", "", "  ", "a", "  a", "b: -", "d: 'x'y", "e: a: b", "f: a #b", "g:  1",
             "a: ''", "h: ---", "---", "...", "? a", "i: ~", "j: 'it''s'",
             "k:\t1", "    - b", "l: - a",
             "m: a:b", "n: :a", "o: a :b", "p: a: "]
        ),
        max_size=6,
    )
)  # fmt: skip
def test_of_any_lines_it_never_reads_what_yaml_does_not(folder: Path, lines: list[str]) -> None:
    text = "\n".join(lines)
    found = read_block(text)
    assert found is None or repr(found) == repr(parsed(text, folder))


@pytest.mark.slow
def test_the_config_of_every_recipe_needs_no_yaml_parser(folder: Path) -> None:
    for row in api.recipes():
        text = write(load([row["recipe"]], families).config.plain())
        assert read_block(text) == parsed(text, folder), row["recipe"]
