"""Trains the points of a sweep as Ray tasks, each with its own GPU or CPUs."""

from __future__ import annotations

import os
import socket
import sys
import time
from collections.abc import Callable, Mapping, Sequence
from contextlib import redirect_stdout
from pathlib import Path
from typing import Any

from weft.errors import DeviceError, RunError
from weft.stopping import graceful_stop
from weft.sweeps.grid import Point
from weft.sweeps.pool import (
    THREADS,
    Outcome,
    Report,
    Train,
    attempt,
    devices,
    in_order,
    with_threads,
)

RETRIES = 3
"""How often a point is started again after its node or process has died."""

_POLL = 1.0
"""Seconds between two checks of signals and of the cluster's head."""

_PATIENCE = 15.0
"""Seconds without an answer after which the head counts as dead."""

_REACH = 5.0
"""Seconds within which an address must answer."""


class RayTasks:
    """Trains points on a running Ray cluster; this process leaves it when the points have ended.

    Args:
        address: `HOST:PORT` of the head, or `auto`: the cluster that RAY_ADDRESS names, else the
            one that `ray start` started on this machine.
        folder: the sweep's, on a disk that all nodes share.

    Raises:
        DeviceError: if Ray is not installed, or no cluster answers.
    """

    def __init__(self, address: str, folder: Path) -> None:
        try:
            import ray
        except ImportError as error:
            raise DeviceError(
                "--on ray needs the package `ray`",
                where="--on",
                hint="pip install 'weft[ray]', on every node",
            ) from error
        self.ray: Any = ray
        self.folder = folder
        _join(ray, address)

    def __call__(
        self,
        points: Sequence[Point],
        train: Train,
        workers: int | None = None,
        on_done: Callable[[Outcome], None] | None = None,
    ) -> list[Outcome]:
        """Trains every point, and returns how each ended in the order of `points`.

        A point whose process or node dies is resumed elsewhere from its newest checkpoint. SIGINT
        or SIGTERM lets every run under way save itself; a second one ends them at once.

        Args:
            points: the settings.
            train: trains or resumes one run from its words.
            workers: tasks at a time; by default as many as the cluster has room for.
            on_done: called as each point ends.

        Raises:
            DeviceError: if no node is large enough for a point.
            RunError: if the cluster's head has died.
        """
        # Ray prints messages on standard output, which belongs to the caller.
        with redirect_stdout(sys.stderr):
            try:
                return self._run(points, train, workers, on_done)
            finally:
                self.ray.shutdown()

    def _run(
        self,
        points: Sequence[Point],
        train: Train,
        workers: int | None,
        on_done: Callable[[Outcome], None] | None,
    ) -> list[Outcome]:
        ray, head = self.ray, _Head(self.ray.get_runtime_context().gcs_address)
        nodes = [node["Resources"] for node in ray.nodes() if node["Alive"]]
        gpus = int(devices(points) != {"cpu"} and any(node.get("GPU") for node in nodes))
        task = ray.remote(_carry_out)
        surroundings = {key: text for key, text in os.environ.items() if key.startswith("WEFT_")}
        waiting, flying, ended = list(reversed(points)), dict[Any, Point](), dict[str, Outcome]()
        with graceful_stop() as stop:
            cancelled = False
            while flying or (waiting and stop.name is None):
                while waiting and stop.name is None and len(flying) < (workers or len(points)):
                    point = waiting.pop()
                    words = with_threads(point.overrides, _share(nodes, gpus))
                    cpus = _cpus(words, nodes)
                    sent = (train, words, os.getcwd(), str(self.folder), surroundings)
                    sent_as = task.options(
                        num_cpus=cpus, num_gpus=gpus, max_retries=RETRIES, name=point.name
                    )
                    flying[sent_as.remote(*sent)] = point
                if stop.name is not None and not cancelled:
                    cancelled = True
                    for reference in flying:
                        ray.cancel(reference)
                ready, _ = ray.wait(list(flying), num_returns=1, timeout=_POLL)
                if not ready:
                    head.check()
                for reference in ready:
                    point = flying.pop(reference)
                    outcome = self._land(reference, point, stop.name or "")
                    if outcome.state == "stopped" and stop.name is None:
                        # Its node was asked to leave: the run is saved, and goes on elsewhere.
                        waiting.append(point)
                        continue
                    ended[point.name] = outcome
                    if on_done is not None:
                        on_done(outcome)
        return in_order(points, ended, stop.name or "")

    def _land(self, reference: Any, point: Point, by: str) -> Outcome:
        try:
            (state, result, error), seconds = self.ray.get(reference)
        # Whatever became of the task: cancelled, its node lost too often, its function not found.
        except self.ray.exceptions.RayError as trouble:
            return Outcome(point, "stopped" if by else "failed", None, "" if by else str(trouble))
        return Outcome(point, state, result, error, seconds, by if state == "stopped" else "")


class _Head:
    """Checks that the cluster's head answers; Ray itself would wait a minute and then abort."""

    def __init__(self, address: str) -> None:
        self.address, self.answered = address, time.monotonic()

    def check(self) -> None:
        if _answers(self.address, _POLL):
            self.answered = time.monotonic()
        elif time.monotonic() - self.answered > _PATIENCE:
            raise RunError(
                "the head of the Ray cluster does not answer any more",
                where=self.address,
                hint="when it is there again, the same sweep command goes on with it",
            )


def _join(ray: Any, address: str) -> None:
    """Makes this process a driver of the cluster.

    Raises:
        DeviceError: if it cannot join.
    """
    if ray.is_initialized():
        return
    if address != "auto" and not _answers(address, _REACH):
        raise DeviceError(
            "no Ray cluster answers at this address",
            where=f"--on ray:{address}",
            expected="HOST:PORT of its head, as `ray start --head` prints it",
        )
    try:
        ray.init(address=address, log_to_driver=False, logging_level="ERROR")
    # Ray has many errors for this: no cluster, another version of Ray or Python, no permission.
    except Exception as error:
        raise DeviceError(
            f"this machine cannot join a Ray cluster: {str(error).strip().partition(chr(10))[0]}",
            where="--on ray" if address == "auto" else f"--on ray:{address}",
            hint="`ray start --head` starts one on this machine; --on ray:HOST:PORT names another",
        ) from error


def _answers(address: str, seconds: float) -> bool:
    host, _, port = address.rpartition(":")
    try:
        with socket.create_connection((host.strip("[]"), int(port)), seconds):
            return True
    except (OSError, ValueError):
        return False


def _share(nodes: Sequence[Mapping[str, float]], gpus: int) -> int:
    """CPUs of a point that does not set threads: one, or a GPU's fair share of its node's CPUs."""
    shares = [n.get("CPU", 0.0) // n["GPU"] for n in nodes if n.get("GPU")] if gpus else []
    return max(1, int(min(shares, default=1)))


def _cpus(words: Sequence[str], nodes: Sequence[Mapping[str, float]]) -> int:
    """CPUs that a run with these words takes: one for each thread.

    Raises:
        DeviceError: if no node has so many; Ray would wait for one for ever.
    """
    text = next(word for word in reversed(words) if word.startswith(THREADS))
    asked = int(text.removeprefix(THREADS))
    most = int(max((node.get("CPU", 0.0) for node in nodes), default=0))
    if asked > most:
        raise DeviceError(
            f"no node of the cluster has {asked} CPUs",
            where=text,
            expected=f"at most {most}, the CPUs of the largest node",
        )
    return asked


def _carry_out(
    train: Train,
    words: tuple[str, ...],
    home: str,
    folder: str,
    surroundings: Mapping[str, str],
) -> tuple[Report, float]:
    """On a node: trains one point with the driver's working directory and environment.

    Returns: the report of `pool.attempt`, and the seconds it took.
    """
    began = time.monotonic()
    os.environ.update(surroundings)
    if not Path(home, folder).is_dir():
        error = f"node {socket.gethostname()} does not see {Path(home, folder)}; all must share it"
        return ("failed", None, error), 0.0
    os.chdir(home)
    return attempt(train, words), time.monotonic() - began
