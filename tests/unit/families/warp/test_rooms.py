"""The rooms of warp stand in one order: each imports only those further left."""

from __future__ import annotations

import ast
from collections.abc import Iterator
from pathlib import Path

import pytest

from weft.families import warp

HOME = Path(str(warp.__file__)).parent
ORDER = (
    "options", "config", "sets", "data", "transition", "cell", "objective", "reference", "forms",
    "rnn", "baselines", "model", "score", "figures", "task",
)  # fmt: skip
FREE = {"__init__", "bench", "optim"}
"""What stands beside the rooms: the door, the benchmark, and optimisers that know no model."""


def _rooms(file: Path) -> Iterator[str]:
    """The rooms and files at the door that `file` imports, inside functions too."""
    for node in ast.walk(ast.parse(file.read_text())):
        if isinstance(node, ast.ImportFrom) and (node.module or "").startswith(warp.__name__):
            words = str(node.module).split(".")[3:]
            yield from (words[:1] if words else (alias.name for alias in node.names))


FILES = {
    str(file.relative_to(HOME).with_suffix("")): file
    for file in sorted(HOME.rglob("*.py"))
    if file.relative_to(HOME).parts[0].removesuffix(".py") not in FREE
}
FILES.pop("options/rules", None)  # names the config for its types, until it melts into it


@pytest.mark.parametrize("name", FILES)
def test_a_room_imports_none_that_stands_to_its_right(name: str) -> None:
    place = ORDER.index(name.partition("/")[0])
    found = {room: ORDER.index(room) for room in _rooms(FILES[name])}
    assert {room for room, other in found.items() if other > place} == set()
