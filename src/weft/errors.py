"""The errors a user can meet: what was wrong, where, what was expected, what to do next."""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any

from weft.shell import spelt


class WeftError(Exception):
    """Base of every error that is shown to a user without a traceback.

    Args:
        message: what was wrong, in one sentence.
        where: file:line, key or flag it was found at.
        expected: what would have been right.
        hint: what to do next, ideally a command.
    """

    label = "error"
    exit_code = 1

    def __init__(
        self, message: str, *, where: str = "", expected: str = "", hint: str = ""
    ) -> None:
        self.message, self.where, self.expected, self.hint = message, where, expected, hint
        super().__init__(message)

    def __str__(self) -> str:
        head = f"{self.label}: {self.message}"
        if self.where:
            head += f"   ({self.where})"
        lines = [head]
        if self.expected:
            lines.append(f"  expected {self.expected}")
        lines.extend(f"  {line}" for line in self.hint.splitlines())
        return "\n".join(lines)

    def __reduce__(self) -> tuple[Any, ...]:
        # As it is: errors travel between processes, and not all are made of one message.
        return _again, (type(self), self.args, vars(self))

    @property
    def brief(self) -> str:
        """What was wrong and where, in one line."""
        return f"{self.message} ({self.where})" if self.where else self.message


def _again(kind: type[WeftError], args: tuple[Any, ...], parts: dict[str, Any]) -> WeftError:
    """An error that was pickled or copied."""
    error = kind.__new__(kind, *args)
    vars(error).update(parts)
    return error


class UsageError(WeftError):
    """The command line asked for something that does not exist or does not fit together."""

    label = "usage error"
    exit_code = 2


class ConfigError(UsageError):
    """One or more mistakes in a configuration; every one of them is listed."""

    label = "config error"

    def __init__(self, problems: list[WeftError] | str, **parts: str) -> None:
        self.problems = [] if isinstance(problems, str) else problems
        if isinstance(problems, str):
            super().__init__(problems, **parts)
        else:
            super().__init__(f"{len(problems)} problem(s)")

    def __str__(self) -> str:
        if not self.problems:
            return super().__str__()
        return "\n".join(str(problem) for problem in self.problems)

    @property
    def brief(self) -> str:
        """Every mistake in brief, in one line."""
        return "; ".join(each.brief for each in self.problems) or super().brief


class PluginError(WeftError):
    """A family, or another plug-in, does not keep weft's interface; its author has to mend it."""

    label = "family error"


class DataError(WeftError):
    """Data are damaged or not of the expected form."""

    label = "data error"
    exit_code = 2


class MissingData(DataError):
    """A data set of the catalogue is not on this machine and cannot be fetched; exit code 1."""

    exit_code = WeftError.exit_code


class CheckpointError(WeftError):
    """A checkpoint is missing, damaged, or belongs to another family."""

    label = "checkpoint error"


class NoCheckpoint(CheckpointError):
    """A run has checkpoints, but none of the name or step that was asked for."""

    exit_code = 2


class RunError(WeftError):
    """A run directory is in use, finished or damaged."""

    label = "run error"


class WrongRun(RunError):
    """What was named is not one run, has changed since, or is at the wrong stage (unfinished, or
    finished) for what was asked."""

    exit_code = 2


class PlaceTaken(RunError):
    """The directory asked for holds something else, which is not overwritten, or another process
    writes there."""

    exit_code = 2


class DeviceError(WeftError):
    """The device, precision or parallel layout that was asked for is not available."""

    label = "device error"
    exit_code = 2


class SystemFault(WeftError):
    """The system refused: disk full, no permission, out of memory, a package that does not load."""

    label = "system error"


class Interrupted(WeftError):
    """A signal stopped the work: 130 is the exit code for SIGINT, 143 for SIGTERM."""

    label = "interrupted"

    def __init__(
        self, signal_name: str, where: str, again: str = "", saved: str = "the state is saved"
    ) -> None:
        super().__init__(
            f"stopped by {signal_name}; {saved}",
            where=where,
            hint=again or (spelt("resume", Path(where)) if where else ""),
        )
        self.signal_name = signal_name
        self.exit_code = 130 if signal_name == "SIGINT" else 143


class NonFiniteError(WeftError):
    """The loss or a gradient became NaN or infinite; the update was not applied."""

    label = "training error"


class MissingExtra(WeftError):
    """An optional dependency is needed and not installed."""

    label = "missing dependency"

    def __init__(self, package: str, extra: str, purpose: str) -> None:
        super().__init__(
            f"{purpose} needs the package `{package}`",
            hint=f"pip install 'weft[{extra}]'",
        )


@contextmanager
def asked_by(flag: str, hint: str = "") -> Iterator[None]:
    """Adds the command-line flag, and a hint, to a usage error raised inside that has none.

    Code below the command line names no flags; the caller, which read the flag, knows it.

    Args:
        flag: shown as the error's place, such as `--stack`.
        hint: what to do next.
    """
    try:
        yield
    except UsageError as error:
        error.where, error.hint = error.where or flag, error.hint or hint
        raise
