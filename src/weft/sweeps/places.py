"""The places where a sweep can be trained: this machine, a Ray cluster, or a SLURM array."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from pathlib import Path
from typing import Protocol

from weft.config.explain import suggest
from weft.errors import UsageError
from weft.sweeps import pool
from weft.sweeps.grid import Point
from weft.sweeps.pool import Outcome, Train

LOCAL = "local"


class Place(Protocol):
    """A function that trains points, with the promises of `pool.run_points`, which is one."""

    def __call__(
        self,
        points: Sequence[Point],
        train: Train,
        workers: int | None = None,
        on_done: Callable[[Outcome], None] | None = None,
    ) -> list[Outcome]:
        """Trains every point and says how each ended, in the order of `points`."""
        ...


def find_place(text: str, folder: Path) -> Place:
    """The place that `--on` names, after checking that it is available.

    Args:
        text: `local`, `ray`, `ray:ADDRESS`, `slurm` or `slurm:OPTION=VALUE,…`.
        folder: the sweep's, which every machine of the place must see under the same path.

    Raises:
        UsageError: if there is no such place, or one of its options cannot be read.
        DeviceError: if its package is not installed, its address does not answer, or its commands
            are missing.
    """
    name, _, rest = text.partition(":")
    known = {LOCAL: _here, "ray": _on_ray, "slurm": _on_slurm}
    if name not in known or (name == LOCAL and rest):
        raise UsageError(
            f"there is no place `{text}` to train on",
            where="--on",
            expected="local, ray, ray:ADDRESS, slurm, or slurm:OPTION=VALUE,…",
            hint=suggest(name, list(known), ""),
        )
    return known[name](rest, folder)


def _here(_: str, __: Path) -> Place:
    return pool.run_points


def _on_ray(address: str, folder: Path) -> Place:
    from weft.sweeps.ray_tasks import RayTasks

    return RayTasks(address or "auto", folder)


def _on_slurm(options: str, folder: Path) -> Place:
    from weft.sweeps.slurm_array import SlurmArray, read_options

    return SlurmArray(read_options(options), folder)
