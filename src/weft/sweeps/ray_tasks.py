"""Trains the points of a sweep as tasks of a Ray cluster, each with a GPU or CPUs of its own."""

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
"""How often a point is taken up again whose node or process is gone."""

_POLL = 1.0
"""Seconds between two looks at signals and at the cluster's head."""

_PATIENCE = 15.0
"""Seconds without an answer of the head after which it counts as gone."""

_REACH = 5.0
"""Seconds in which an address must answer."""


class RayTasks:
    """A place on a Ray cluster that is there; this process leaves it when the points have ended.

    Args:
        address: `HOST:PORT` of the head, or `auto`: the cluster that RAY_ADDRESS, or else a
            `ray start` on this machine, names.
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
        """Trains every point and says how each ended, in the order of `points`.

        A point whose process or node is gone goes on elsewhere from its newest checkpoint.
        Ctrl-C (or SIGTERM) lets every run under way save itself; a second one ends them at once.

        Args:
            points: the settings.
            train: trains or resumes one run from its words.
            workers: tasks at a time; as many as the cluster has room for by default.
            on_done: called as each point ends.

        Raises:
            DeviceError: if no node is large enough for a point.
            RunError: if the cluster's head is gone.
        """
        # Ray prints what it notices, up to its end; standard output is the caller's.
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
    """Whether the cluster's head still answers: Ray itself would wait a minute, then abort."""

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
        DeviceError: if that cannot be.
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
    # Its own errors of many kinds: no cluster, another version of Ray or of Python, no right.
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
    """CPUs of a point that does not say: one, or a GPU's fair share of its node's."""
    shares = [n.get("CPU", 0.0) // n["GPU"] for n in nodes if n.get("GPU")] if gpus else []
    return max(1, int(min(shares, default=1)))


def _cpus(words: Sequence[str], nodes: Sequence[Mapping[str, float]]) -> int:
    """CPUs that a run with these words takes: one a thread.

    Raises:
        DeviceError: if no node has so many, for which Ray would wait for ever.
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
    """On a node: trains one point as if in the driver's place. Its report, and its seconds."""
    began = time.monotonic()
    os.environ.update(surroundings)
    if not Path(home, folder).is_dir():
        error = f"node {socket.gethostname()} does not see {Path(home, folder)}; all must share it"
        return ("failed", None, error), 0.0
    os.chdir(home)
    return attempt(train, words), time.monotonic() - began
