"""Trains the points of a sweep as jobs of a SLURM array, through submitit."""

from __future__ import annotations

import json
import os
import re
import shutil
import signal
import subprocess
import time
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from math import ceil
from pathlib import Path
from typing import Any

from weft.atomic import write_text
from weft.errors import DeviceError, UsageError
from weft.stopping import graceful_stop
from weft.sweeps.grid import Point
from weft.sweeps.pool import Outcome, Report, Train, attempt, in_order, with_threads

_POLL = 5.0
"""Seconds between two queries of the queue."""

_LATE = 15.0
"""Seconds within which a result must appear on the shared disk after its job left the queue."""

_NOTICE = 90
"""Seconds before the end of its time at which a job is signalled, so that its run is saved."""

_TURNS = 10_000
"""How often a job may use up its time and be queued again; submitit needs a number."""

_OPTION = re.compile(r"[a-z][a-z-]*")
_TIME = re.compile(r"(?:(\d+)-)?(\d+)(?::(\d+))?(?::(\d+))?")


@dataclass(frozen=True)
class Options:
    """Options of the job of every point.

    Attributes:
        minutes: time limit of a job, after which its run is saved and the job queued again.
        cpus: CPUs of a job, and threads of its run.
        others: further options of sbatch by name; True for one without a value.
    """

    minutes: int = 60
    cpus: int = 1
    others: Mapping[str, str | bool] | None = None


def read_options(text: str) -> Options:
    """The options of `partition=gpu,time=4:00:00,cpus-per-task=4,gpus=1`.

    Raises:
        UsageError: if they cannot be read.
    """
    given: dict[str, str | bool] = {}
    for item in filter(None, text.split(",")):
        key, equals, value = item.partition("=")
        if not _OPTION.fullmatch(key):
            raise UsageError(
                f"`{item}` is no option of sbatch",
                where=f"--on slurm:{text}",
                expected="long names with values, such as partition=gpu,time=4:00:00,gpus=1",
            )
        given[key] = value if equals else True
    cpus = str(given.pop("cpus-per-task", 1))
    if not cpus.isdigit() or int(cpus) < 1:
        raise UsageError(
            f"a job cannot have {cpus} CPUs", where=f"--on slurm:{text}", expected="1 or more"
        )
    return Options(_minutes(str(given.pop("time", 60))), int(cpus), given)


def _minutes(text: str) -> int:
    """A time as sbatch reads it: MINUTES, M:SS, H:MM:SS, D-HH, D-HH:MM or D-HH:MM:SS."""
    match = _TIME.fullmatch(text)
    if match is None:
        raise UsageError(
            f"`{text}` is no time", where="--on slurm:time=", expected="such as 90 or 1-12:00:00"
        )
    days, *parts = match.groups()
    numbers = [int(part) for part in parts if part is not None]
    if days is not None:
        hours, minutes, seconds = (*numbers, 0, 0)[:3]
    elif len(numbers) == 3:
        hours, minutes, seconds = numbers
    else:
        hours, (minutes, seconds) = 0, (*numbers, 0)[:2]
    return max(1, ceil(int(days or 0) * 1440 + hours * 60 + minutes + seconds / 60))


class SlurmArray:
    """Trains points on a SLURM cluster, from a machine that can submit jobs.

    Args:
        options: of every job.
        folder: the sweep's, on a disk that all machines share; its subfolder `slurm` holds the
            jobs and their output.

    Raises:
        DeviceError: if submitit is not installed, or this machine has no `sbatch`.
    """

    def __init__(self, options: Options, folder: Path) -> None:
        try:
            import submitit
        except ImportError as error:
            raise DeviceError(
                "--on slurm needs the package `submitit`",
                where="--on",
                hint="pip install 'weft[slurm]'",
            ) from error
        self.submitit: Any = submitit
        self.options, self.folder = options, folder / "slurm"
        self.find_commands()

    def __call__(
        self,
        points: Sequence[Point],
        train: Train,
        workers: int | None = None,
        on_done: Callable[[Outcome], None] | None = None,
    ) -> list[Outcome]:
        """Trains every point, and returns how each ended in the order of `points`.

        A job whose time is up saves its run and is queued again. SIGINT or SIGTERM cancels the
        jobs, whose runs save themselves. If this process is killed the jobs go on, and the same
        call later waits for them.

        Args:
            points: the settings.
            train: trains or resumes one run from its words.
            workers: jobs at a time; by default as many as SLURM starts.
            on_done: called as each point ends.

        Raises:
            DeviceError: if sbatch refuses the jobs.
        """
        flying = self._known(points)
        waiting = [point for point in points if point.name not in flying]
        places = {point.name: point for point in points}
        ended: dict[str, Outcome] = {}
        with graceful_stop() as stop:
            cancelled = False
            while flying or (waiting and stop.name is None):
                if waiting and stop.name is None:
                    flying |= self._submit(waiting, train, workers)
                    waiting = []
                if stop.name is not None and not cancelled:
                    cancelled = True
                    for job in flying.values():
                        job.cancel(check=False)
                time.sleep(_POLL)
                queued = self.queued(list(flying.values()))
                for name in [name for name, job in flying.items() if job.job_id not in queued]:
                    outcome = self._land(flying.pop(name), places[name], stop.name or "")
                    if outcome.state == "stopped" and stop.name is None:
                        # Preempted, or cancelled by others: the run is saved and can be resumed.
                        waiting.append(places[name])
                        continue
                    ended[name] = outcome
                    if on_done is not None:
                        on_done(outcome)
        return in_order(points, ended, stop.name or "")

    def find_commands(self) -> None:
        """Checks that this machine can submit jobs.

        Raises:
            DeviceError: naming the missing command.
        """
        for command in ("sbatch", "srun", "squeue", "scancel"):
            if shutil.which(command) is None:
                raise DeviceError(
                    f"this machine has no `{command}`",
                    where="--on slurm",
                    expected="a machine of the cluster from which jobs are submitted",
                )

    def executor(self, count: int) -> Any:
        """The submitit executor, which runs `count` jobs at a time."""
        made = self.submitit.SlurmExecutor(self.folder, max_num_timeout=_TURNS)
        made.update_parameters(
            job_name=self.folder.resolve().parent.name,
            time=self.options.minutes,
            cpus_per_task=self.options.cpus,
            signal_delay_s=_NOTICE,
            array_parallelism=count,
            additional_parameters={"requeue": True, **(self.options.others or {})},
        )
        return made

    def job(self, number: str) -> Any:
        """A job that an earlier call submitted."""
        return self.submitit.SlurmJob(self.folder, number)

    def queued(self, jobs: Sequence[Any]) -> set[str]:
        """The numbers of the jobs that wait or run; all of them if the queue does not answer."""
        asked = ["squeue", "--me", "--array", "--noheader", "--format=%i"]
        told = subprocess.run(asked, capture_output=True, text=True, check=False)
        numbers = {job.job_id for job in jobs}
        return numbers & set(told.stdout.split()) if told.returncode == 0 else numbers

    def _known(self, points: Sequence[Point]) -> dict[str, Any]:
        """Point -> its job that an earlier call submitted and that is still under way."""
        if not self._journal.is_file():
            return {}
        kept = json.loads(self._journal.read_text())
        jobs = {p.name: self.job(kept[p.name]) for p in points if p.name in kept}
        queued = self.queued(list(jobs.values()))
        return {name: job for name, job in jobs.items() if job.job_id in queued}

    def _submit(self, points: Sequence[Point], train: Train, workers: int | None) -> dict[str, Any]:
        words = [with_threads(point.overrides, self.options.cpus) for point in points]
        executor = self.executor(workers or len(points))
        try:
            jobs = executor.map_array(_Try(), [train] * len(points), words)
        except self.submitit.core.utils.FailedJobError as error:
            raise DeviceError(
                f"sbatch refused the jobs: {str(error).strip()}",
                where="--on slurm",
                hint="options are those of sbatch: --on slurm:partition=gpu,time=4:00:00,gpus=1",
            ) from error
        made = {point.name: job for point, job in zip(points, jobs, strict=True)}
        kept = json.loads(self._journal.read_text()) if self._journal.is_file() else {}
        numbers = {name: job.job_id for name, job in made.items()}
        write_text(self._journal, json.dumps({**kept, **numbers}, indent=1) + "\n")
        return made

    @property
    def _journal(self) -> Path:
        return self.folder / "jobs.json"

    def _land(self, job: Any, point: Point, by: str) -> Outcome:
        file = job.paths.result_pickle
        # A file written by another machine may appear late on a shared disk.
        end = time.monotonic() + (0.0 if by else _LATE)
        while not file.exists() and time.monotonic() < end:
            time.sleep(1.0)
        if not file.exists():
            error = f"job {job.job_id} ended without a result\n{job.stderr() or ''}".strip()
            return Outcome(point, "stopped" if by else "failed", error="" if by else error, by=by)
        kind, found = self.submitit.core.utils.pickle_load(file)
        if kind == "error":
            return Outcome(point, "failed", error=str(found))
        (state, result, error), seconds = found
        return Outcome(point, state, result, error, seconds, by if state == "stopped" else "")


class _Try:
    """In a job: trains one point; shortly before the time limit saves the run and requeues."""

    def __call__(self, train: Train, words: tuple[str, ...]) -> tuple[Report, float]:
        began = time.monotonic()
        queue_again, told = signal.getsignal(signal.SIGUSR2), list[int]()

        def save_first(number: int, _: object) -> None:
            told.append(number)
            os.kill(os.getpid(), signal.SIGTERM)

        signal.signal(signal.SIGUSR2, save_first)
        report = attempt(train, words)
        if told and report[0] == "stopped" and callable(queue_again):
            queue_again(told[0], None)
        return report, time.monotonic() - began

    def checkpoint(self, train: Train, words: tuple[str, ...]) -> Any:
        """What submitit queues again: the same call, which resumes the run."""
        from submitit.helpers import DelayedSubmission

        return DelayedSubmission(self, train, words)
