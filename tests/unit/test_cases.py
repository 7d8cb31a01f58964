"""Files and words that once escaped their reader, kept as they were: one error of weft's for each.

A file of `cases/` is called `PART__…`: what it stands for, and how it once escaped. Of a
`config_….txt` the first line says how, the second what kind of thing follows: words, a value, a
file, or a change at resume.
"""

from __future__ import annotations

import ast
import time
from collections.abc import Callable
from pathlib import Path

import pytest

from tests.unit.test_damage import _read_checkpoint, _read_npz, _read_run
from weft import families
from weft.api import configure
from weft.config.load import load
from weft.config.yaml import read_value
from weft.data.formats import read_cifar_parquet
from weft.data.series import read_ts
from weft.engine.checkpoint import read
from weft.errors import WeftError
from weft.families.warp.sets.arrays import load as load_arrays
from weft.run.resume import changed
from weft.sweeps.grid import read_plan

FOLDER = Path(__file__).parent / "cases"
LONGEST = 2.0
"""Seconds of CPU that a reader may take to say no."""


def _sum(path: Path) -> None:
    """The file as the sum of a checkpoint that is sound."""
    checkpoint = path.with_name("step_00000001.pt")
    checkpoint.write_bytes(b"sound")
    path.rename(path.with_name("step_00000001.pt.sha256"))
    read(checkpoint)


def _series(path: Path) -> None:
    load_arrays(configure("warp/msd", f"data.dataset={path}").config)


def _named(name: str, reader: Callable[[Path], object]) -> Callable[[Path], object]:
    return lambda path: reader(path.rename(path.with_name(name)))


READERS: dict[str, Callable[[Path], object]] = {
    "checkpoint_sum_file": _sum,
    "checkpoint_sum_made_right": _named("step_00000001.pt", _read_checkpoint),
    "config.yaml": _named("config.yaml", _read_run),
    "env.json": _named("env.json", _read_run),
    "metrics.jsonl": _named("metrics.jsonl", _read_run),
    "resolved.yaml": _named("resolved.yaml", _read_run),
    "status.json": _named("status.json", _read_run),
    "image_npz": _read_npz,
    "image_npz_compressed": _read_npz,
    "series_npz": _named("case.npz", _series),
    "series_npz_compressed": _named("case.npz", _series),
    "parquet": lambda path: read_cifar_parquet([path], "train"),
    "sweep.yaml": _named("sweep.yaml", lambda path: read_plan(path.parent)),
    "ts": read_ts,
}


@pytest.mark.parametrize("name", sorted(path.name for path in FOLDER.glob("*.bin")))
def test_a_file_that_escaped_its_reader_is_refused(name: str, tmp_path: Path) -> None:
    part = name.partition("__")[0]
    if part == "parquet":
        pytest.importorskip("pyarrow", reason="the extra `parquet` is not installed")
    path = tmp_path / "case"
    path.write_bytes((FOLDER / name).read_bytes())
    start = time.process_time()
    with pytest.raises(WeftError) as caught:
        READERS[part](path)
    assert time.process_time() - start < LONGEST
    assert caught.value.message and caught.value.where


@pytest.mark.parametrize("name", sorted(path.name for path in FOLDER.glob("*.txt")))
def test_a_config_that_escaped_is_refused(name: str, tmp_path: Path) -> None:
    _, kind, given = (FOLDER / name).read_text().split("\n", 2)
    start = time.process_time()
    with pytest.raises(WeftError) as caught:
        match kind:
            case "words":
                load(ast.literal_eval(given), families)
            case "value":
                read_value(ast.literal_eval(given), "here")
            case "resume":
                recipe, key, text = ast.literal_eval(given)
                values = load([recipe], families).config.plain()
                changed(values, {key: read_value(text, "here")}, "config.yaml")
            case "file":
                file, content = ast.literal_eval(given)
                (tmp_path / file).write_bytes(content)
                load([str(tmp_path / file)], families)
    assert time.process_time() - start < LONGEST
    assert caught.value.exit_code == 2
