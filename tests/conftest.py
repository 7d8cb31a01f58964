"""Shared fixtures: the toy family beside the real ones, and a clean working directory.

Torch and matplotlib are imported by the fixtures that need them: the process that hands out tests
reads this file before it starts those that take them.
"""

from __future__ import annotations

import gc
import os
from collections.abc import Callable, Generator, Iterator, Sequence
from pathlib import Path
from typing import TYPE_CHECKING

import pytest
from hypothesis import HealthCheck, settings

if TYPE_CHECKING:
    from weft.sweeps import pool
    from weft.sweeps.grid import Point
    from weft.sweeps.pool import Train

# The same examples every time, and no limit in seconds: a busy machine fails no test.
settings.register_profile(
    "weft", derandomize=True, deadline=None, suppress_health_check=[HealthCheck.too_slow]
)
settings.load_profile("weft")


def pytest_configure() -> None:
    """What numba compiled is found again by tests with a cache of their own, and by the processes
    they start: without it each takes ten seconds."""
    from weft.data.cache import cache_folder

    os.environ.setdefault("NUMBA_CACHE_DIR", str(cache_folder() / "compiled"))


@pytest.hookimpl(wrapper=True)
def pytest_collection() -> Generator[None, object, object]:
    """No garbage is looked for while tests are collected, when there is hardly any, nor later among
    what was: that took a sixth of this time, and half a second of every benchmark's form."""
    gc.disable()
    try:
        return (yield)
    finally:
        gc.collect()
        gc.freeze()
        gc.enable()


def pytest_collection_modifyitems(items: list[pytest.Item]) -> None:
    """gaussvae's parts come last: by then its commands, which a worker begins with, have had numba
    compile what they share, and the other worker need not do so at the same time."""
    items.sort(key=lambda item: "unit/families/gaussvae/" in item.nodeid)


@pytest.fixture(autouse=True, scope="session")
def known_costs() -> Iterator[None]:
    """Runs are told their cost without counting it again, which takes longer than tiny training
    does; tests of `cost` itself import it, and count."""
    from tests.costs import known_cost
    from weft.engine import profile

    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(profile, "cost", known_cost)
        yield


@pytest.fixture(autouse=True, scope="session")
def no_power_cuts() -> Iterator[None]:
    """Files are left to the system to write: some twenty a run were waited for, milliseconds each,
    and no test takes the power away."""
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(os, "fsync", lambda descriptor: None)
        yield


@pytest.fixture(autouse=True)
def same_threads() -> Iterator[None]:
    """Torch has as many threads after a test as before: two processes of two threads each on two
    cores take up to forty times as long for small matrices as two of one."""
    import torch

    before = torch.get_num_threads()
    yield
    if torch.get_num_threads() != before:
        torch.set_num_threads(before)


@pytest.fixture
def toy(monkeypatch: pytest.MonkeyPatch) -> Iterator[str]:
    """Registers the family `toy` for one test."""
    from weft import families

    monkeypatch.setitem(families.BUILT_IN, "toy", "tests.toy.family")
    families._modules.cache_clear()
    families.find.cache_clear()
    yield "toy/small"
    monkeypatch.undo()
    families._modules.cache_clear()
    families.find.cache_clear()


@pytest.fixture
def points_here(monkeypatch: pytest.MonkeyPatch) -> None:
    """The points of a sweep are trained in this process, where the toy family is known."""
    from weft.sweeps import pool

    def run_points(
        points: Sequence[Point],
        train: Train,
        workers: int | None = None,
        on_done: Callable[[pool.Outcome], None] | None = None,
    ) -> list[pool.Outcome]:
        return [pool.Outcome(point, "done", train(point.overrides)) for point in points]

    monkeypatch.setattr(pool, "run_points", run_points)


@pytest.fixture
def without_pictures(monkeypatch: pytest.MonkeyPatch) -> None:
    """Runs end without figures and pages, which take ten times as long as tiny training does."""
    from weft.reports import page
    from weft.run import samples

    monkeypatch.setattr(samples, "draw", lambda trained: [])
    monkeypatch.setattr(page, "write_page", lambda run, task=None: run.path)


@pytest.fixture(autouse=True)
def quick_layout(monkeypatch: pytest.MonkeyPatch) -> None:
    """Axes stay where they first stand: laying them out takes half of a figure's time, and only
    tests that look at figures, which have a fixture of this name, need it."""
    from matplotlib.layout_engine import ConstrainedLayoutEngine

    monkeypatch.setattr(ConstrainedLayoutEngine, "execute", lambda engine, figure: None)


@pytest.fixture
def workspace(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """A temporary current directory, so that `runs/` lands there."""
    monkeypatch.chdir(tmp_path)
    return tmp_path
