"""Twenty thousand steps take no more memory and hold no more files open than a few do."""

from __future__ import annotations

import os
import resource
from collections.abc import Mapping
from pathlib import Path

import pytest

from weft import api
from weft.run.directory import RunDirectory

PAGE = resource.getpagesize()


class _Watch:
    """Notes resident bytes and open descriptors at every row."""

    def __init__(self, directory: RunDirectory) -> None:
        self.seen: dict[int, tuple[int, int]] = {}

    def on_row(self, step: int, values: Mapping[str, float]) -> None:
        resident = int(Path("/proc/self/statm").read_text().split()[1]) * PAGE
        self.seen[step] = (resident, len(os.listdir("/proc/self/fd")))

    def on_end(self, directory: RunDirectory, state: str) -> None:
        """Nothing was opened."""


@pytest.mark.exhaustive
@pytest.mark.skipif(not Path("/proc/self/statm").exists(), reason="counts what /proc tells")
def test_memory_and_descriptors_stay_flat_over_many_steps(
    toy: str, workspace: Path, record_property: pytest.RecordProperty
) -> None:
    watches: list[_Watch] = []

    def watch(directory: RunDirectory) -> _Watch:
        watches.append(_Watch(directory))
        return watches[0]

    words = ("steps=20000", "log.every=50", "eval.every=500 steps", "checkpoint.every=500 steps",
             "log.tensorboard=false", "engine.threads=1")  # fmt: skip
    assert api.train(toy, *words, report=False, sinks=[watch]) is not None
    (watched,) = watches
    early, late = watched.seen[2000], watched.seen[20000]
    print(*(f"{seen[0] / 2**20:.1f} MiB, {seen[1]} files" for seen in (early, late)), sep=" -> ")
    assert late[1] == early[1]
    assert late[0] - early[0] < 4 * 2**20
