"""Trains the points of a sweep in parallel, each in a process of its own."""

from __future__ import annotations

import math
import multiprocessing
import os
import signal
import sys
import tempfile
import threading
import time
import traceback
from collections import deque
from collections.abc import Callable, Iterator, Mapping, Sequence
from contextlib import contextmanager, suppress
from dataclasses import dataclass
from multiprocessing.connection import Connection, wait
from multiprocessing.context import ForkServerContext, SpawnContext
from multiprocessing.process import BaseProcess
from typing import Any, Literal

from weft.errors import Interrupted, UsageError
from weft.families import blame
from weft.stopping import Stop, Stopped, handled, stopped_by_signals
from weft.sweeps.grid import Point
from weft.system import fault

Train = Callable[[tuple[str, ...]], dict[str, Any]]
State = Literal["done", "failed", "stopped"]
Report = tuple[State, dict[str, Any] | None, str]
_Context = SpawnContext | ForkServerContext

THREADS, DEVICE = "engine.threads=", "engine.device="

_ECHO = 0.25
"""Seconds within which a second signal counts as the same one: `timeout` sends each twice."""

_LONGEST = 70
"""Bytes of a temporary folder in which the server of processes can have its socket: systems allow
one of 103 or more, of which its own name takes 32."""

_GRACE = 60.0
"""Seconds that an orphaned process has to save its run before it ends."""


@dataclass(frozen=True)
class Outcome:
    """How a point ended.

    Attributes:
        point: the setting.
        state: `done`, `failed`, or `stopped` (interrupted, or never begun).
        result: what training returned, or None.
        error: what went wrong, in full, or "".
        seconds: wall time, 0 if it never began.
        by: the signal that stopped the point; "" if none did.
    """

    point: Point
    state: State
    result: dict[str, Any] | None = None
    error: str = ""
    seconds: float = 0.0
    by: str = ""


@dataclass(frozen=True)
class _Flight:
    """A point that is being trained."""

    point: Point
    process: BaseProcess
    gpu: str
    began: float


def run_points(
    points: Sequence[Point],
    train: Train,
    workers: int | None = None,
    on_done: Callable[[Outcome], None] | None = None,
    fits: Callable[[Point], bool] = lambda _: True,
    end: float = math.inf,
) -> list[Outcome]:
    """Trains every point.

    A point that fails, or whose process is killed, does not stop the others. The first SIGINT or
    SIGTERM is passed on, so that every run under way saves itself, and no further point begins; a
    second one kills the processes, whose runs can be resumed from their last checkpoints.

    Args:
        points: the settings.
        train: trains one run from its words (or resumes it, if its directory exists) and returns
            plain values; a function at the top level of a module.
        workers: processes at a time; by default one per GPU, or one per core without a GPU.
        on_done: called in this process as each point ends.
        fits: called before a point begins; if it returns False, the point is left out.
        end: time on `time.monotonic` at which every run under way is asked to save itself, and
            after which no point begins.

    Returns: how each point ended, in the order of `points`.
    """
    gpus = _gpus(points)
    count = max(1, min(workers or len(gpus) or cores(), len(points)))
    slots = deque(gpus[i % len(gpus)] if gpus else "" for i in range(count))
    threads = max(1, cores() // count)
    context = _context(gpus)
    waiting = deque(points)
    flying: dict[Connection, _Flight] = {}
    ended: dict[str, Outcome] = {}
    late = False
    with _signals(flying) as stopping:
        try:
            while flying or (waiting and stopping.name is None):
                while waiting and slots and stopping.name is None:
                    point = waiting.popleft()
                    if late or not fits(point):
                        continue
                    gpu = slots.popleft()
                    connection, process = _start(context, train, point, threads, gpu)
                    flying[connection] = _Flight(point, process, gpu, time.monotonic())
                    if stopping.name is not None:
                        process.terminate()
                if not flying:
                    continue  # What waited was left out, and to wait for nothing takes for ever.
                left = None if late or end == math.inf else max(0.0, end - time.monotonic())
                landed = wait(list(flying), left)
                if flying and not landed:
                    late = True
                    for flight in flying.values():
                        _send(flight.process, signal.SIGTERM)
                for ready in landed:
                    assert isinstance(ready, Connection)
                    outcome = _land(ready, flying[ready], stopping, late)
                    slots.append(flying.pop(ready).gpu)
                    ended[outcome.point.name] = outcome
                    if on_done is not None:
                        on_done(outcome)
        finally:
            for flight in flying.values():
                flight.process.terminate()
            for flight in flying.values():
                flight.process.join()
    return in_order(points, ended, stopping.name or "")


def check_workers(workers: object) -> None:
    """Raises: UsageError if this is no number of processes; None leaves it to the machine."""
    whole = isinstance(workers, int) and not isinstance(workers, bool)
    if workers is not None and not (whole and workers >= 1):  # type: ignore[operator]
        raise UsageError(
            f"{workers!r} is no number of processes",
            where="workers",
            expected="a whole number, 1 or more, or None",
        )


def in_order(points: Sequence[Point], ended: Mapping[str, Outcome], by: str) -> list[Outcome]:
    """The outcomes in the order of `points`; points that never began are `stopped` by signal `by`.

    Raises:
        Stopped: if the signal came after all points had ended, so that it is not lost.
    """
    if by and len(ended) == len(points) and all(o.state != "stopped" for o in ended.values()):
        raise Stopped(by)
    return [ended.get(point.name) or Outcome(point, "stopped", by=by) for point in points]


def refuse_stopped(outcomes: Sequence[Outcome], where: str, again: str) -> None:
    """Raises: Interrupted, by the signal that stopped them, if some of the points were stopped."""
    if any(outcome.state == "stopped" for outcome in outcomes):
        name = next(filter(None, (outcome.by for outcome in outcomes)), "SIGINT")
        raise Interrupted(name, where, again=again)


def attempt(train: Train, words: tuple[str, ...]) -> Report:
    """Trains one point in this process.

    The first SIGINT or SIGTERM lets the run save itself; its state is then `stopped`.

    Returns: state, what training returned, and what went wrong.
    """
    try:
        with stopped_by_signals():
            return "done", train(words), ""
    except (KeyboardInterrupt, Stopped, Interrupted):
        return "stopped", None, ""
    except Exception as error:
        told = fault(error) or blame(error)
        return "failed", None, traceback.format_exc() if told is None else str(told)


def with_threads(words: tuple[str, ...], number: int) -> tuple[str, ...]:
    """The words with `engine.threads=number` added, unless they set it."""
    chosen = any(word.startswith(THREADS) for word in words)
    return words if chosen else (*words, f"{THREADS}{number}")


def devices(points: Sequence[Point]) -> set[str]:
    """All values of `engine.device` among the words of the points."""
    words = [word for point in points for word in point.overrides]
    return {word.removeprefix(DEVICE) for word in words if word.startswith(DEVICE)}


def _start(
    context: _Context, train: Train, point: Point, threads: int, gpu: str
) -> tuple[Connection, BaseProcess]:
    # A number of threads that the user gave, by option or environment, wins.
    told = "OMP_NUM_THREADS" in os.environ
    words = point.overrides if told else with_threads(point.overrides, threads)
    ours, theirs = context.Pipe(duplex=False)
    # A process for each point, not a pool: its memory is freed when it ends, a killed one affects
    # no other, and its exit code says how it died.
    process = context.Process(target=_attempt, args=(train, words, gpu, theirs), name=point.name)
    with _script_unseen(train):
        process.start()
    theirs.close()
    return ours, process


@contextmanager
def _script_unseen(train: Train) -> Iterator[None]:
    """A process that starts inside does not run the caller's script, which it needs nothing of, and
    which would sweep, or train, once more there, wherever the usual guard is missing."""
    main = sys.modules["__main__"]
    known = ("__spec__", "__file__")
    hidden: dict[str, Any] = {name: vars(main)[name] for name in known if name in vars(main)}
    if train.__module__ == "__main__" or not hidden:
        yield
        return
    vars(main).update(__spec__=None)
    vars(main).pop("__file__", None)
    try:
        yield
    finally:
        vars(main).update(hidden)


def _land(connection: Connection, flight: _Flight, stopping: Stop, late: bool) -> Outcome:
    state: State
    try:
        state, result, error = connection.recv()
    except EOFError:
        flight.process.join()
        state, result, error = "failed", None, _obituary(flight.process.exitcode)
        if late or stopping.name is not None:
            state, error = "stopped", ""
    connection.close()
    flight.process.join()
    by = (stopping.name or "") if state == "stopped" else ""
    return Outcome(flight.point, state, result, error, time.monotonic() - flight.began, by)


def _obituary(code: int | None) -> str:
    if code is not None and code < 0:
        name = signal.Signals(-code).name
        reason = "; the machine may have run out of memory" if name == "SIGKILL" else ""
        return f"its process was ended by {name}{reason}"
    return f"its process ended with exit code {code} before the run did"


def _attempt(train: Train, words: tuple[str, ...], gpu: str, connection: Connection) -> None:
    """In the process of a point: trains it and sends (state, result, error) to the parent."""
    try:
        if hasattr(os, "setsid"):
            # A session of its own, so that Ctrl-C reaches it only once, through the parent.
            os.setsid()
        threading.Thread(target=_follow_parent, daemon=True).start()
        if gpu:
            os.environ["CUDA_VISIBLE_DEVICES"] = gpu
        report = attempt(train, words)
    except (KeyboardInterrupt, Stopped):
        report = ("stopped", None, "")
    connection.send(report)
    connection.close()


def _follow_parent() -> None:
    """Ends this process when its parent has died, so that no orphan keeps training."""
    parent = multiprocessing.parent_process()
    assert parent is not None
    wait([parent.sentinel])
    os.kill(os.getpid(), signal.SIGTERM)
    time.sleep(_GRACE)
    os._exit(1)


@contextmanager
def _signals(flying: dict[Connection, _Flight]) -> Iterator[Stop]:
    """Records SIGINT or SIGTERM and passes it on to the processes of `flying`; a second signal
    kills them."""
    stop = Stop()

    def pass_on(number: int, _: object) -> None:
        if stop.name is not None and time.monotonic() - stop.at < _ECHO:
            return
        again = stop.name is not None
        if not again:
            stop.note(number)
        for flight in list(flying.values()):
            # Not SIGINT, which the server of processes ignores, and so does a child of its until
            # it has taken back Python's handlers: one that has begun nothing dies of this.
            _send(flight.process, signal.SIGKILL if again else signal.SIGTERM)
        if again and not flying:
            # Nothing whose end would be waited for, as while the first process starts.
            raise Stopped(stop.name or "SIGINT")

    with handled(pass_on):
        yield stop


def _send(process: BaseProcess, number: signal.Signals) -> None:
    assert process.pid is not None
    with suppress(ProcessLookupError):
        os.kill(process.pid, number)


def _context(gpus: Sequence[str]) -> _Context:
    """The way to start processes that share no state with this one: a fork server if possible."""
    too_long = len(os.fsencode(tempfile.gettempdir())) > _LONGEST
    if too_long or "forkserver" not in multiprocessing.get_all_start_methods():
        return multiprocessing.get_context("spawn")
    context = multiprocessing.get_context("forkserver")
    # Imported once in the server, torch costs each process milliseconds in place of seconds; so
    # does torch._dynamo, which counting most costs imports, but it might wake CUDA before the fork.
    context.set_forkserver_preload(["torch", __name__, *([] if gpus else ["torch._dynamo"])])
    return context


def cores() -> int:
    """CPU cores that this process may use."""
    if hasattr(os, "sched_getaffinity"):
        return len(os.sched_getaffinity(0))
    return os.cpu_count() or 1


def _gpus(points: Sequence[Point]) -> list[str]:
    """The GPUs to use, as CUDA_VISIBLE_DEVICES names them; "" for one that cannot be named."""
    chosen = devices(points)
    if chosen == {"cpu"}:
        return []
    if chosen - {"auto", "cpu", "cuda"}:
        return [""]
    import torch

    count = torch.cuda.device_count()
    if count == 0:
        return [""] if torch.backends.mps.is_available() else []
    visible = os.environ.get("CUDA_VISIBLE_DEVICES")
    return visible.split(",")[:count] if visible else [str(i) for i in range(count)]
