"""A damaged file of a run or a sweep: the error says what can be done."""

from __future__ import annotations

from pathlib import Path

import pytest

from weft.errors import RunError
from weft.run.files import read_index, read_yaml


@pytest.mark.parametrize("name", ["sweep.yaml", "search.yaml", "config.yaml", "resolved.yaml"])
@pytest.mark.parametrize("content", [b"[1, 2]", b"\xff\xff", b"a: \0", b"a: 1\na: 2\n"])
def test_a_plan_that_is_damaged_is_to_be_put_back(
    name: str, content: bytes, tmp_path: Path
) -> None:
    (tmp_path / name).write_bytes(content)
    with pytest.raises(RunError) as caught:
        read_yaml(tmp_path / name)
    assert "put it back from a copy" in caught.value.hint


def test_the_command_that_draws_samples_again_names_the_run(tmp_path: Path) -> None:
    figures = tmp_path / "a run" / "figures"
    figures.mkdir(parents=True)
    (figures / "index.json").write_text('{"figures": [3]}')
    with pytest.raises(RunError) as caught:
        read_index(figures / "index.json")
    assert f"weft sample '{tmp_path / 'a run'}'" in caught.value.hint
