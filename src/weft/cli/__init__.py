"""The command line: each command parses its words, calls the api, and prints."""

from __future__ import annotations

import sys
import traceback
from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from typing import Annotated

import typer

from weft.cli import (
    authoring,
    config,
    data,
    exchange,
    installation,
    listing,
    packing,
    study,
    training,
)
from weft.cli.misread import REFUSAL, misread
from weft.cli.verbs import Commands, Raised, own
from weft.data.remarks import collecting
from weft.errors import WeftError
from weft.stopping import Stop, Stopped, stopped_by_signals
from weft.system import check_folder, fault
from weft.terminal import plainly, tell

app = typer.Typer(
    cls=Commands,
    help="A workbench for neural systems that keep what they know in unusual places.",
    pretty_exceptions_enable=False,
    rich_markup_mode=None,
)
config_app = typer.Typer(cls=Commands, help="Show a recipe's config or its schema.")
data_app = typer.Typer(cls=Commands, help="List, fetch and verify data sets; make your own.")
app.add_typer(config_app, name="config")
app.add_typer(data_app, name="data")


for command in (
    training.train,
    training.resume,
    training.evaluate,
    training.sample,
    training.sweep,
    listing.runs,
    listing.compare,
    listing.report,
    listing.reproduce,
    exchange.export,
    exchange.push,
    exchange.pull,
    installation.recipes,
    installation.doctor,
    installation.bench,
):
    own(command.__name__, command)
own("new-family", authoring.new_family)
# Everything after the study's name is passed on to the study, `--help` included.
own("study", study.study, {"allow_interspersed_args": False})
own("config show", config.show)
own("config schema", config.schema)
own("data list", data.list_sets)
own("data get", data.get)
own("data check", data.check)
own("data pack", packing.pack)


def _help(context: typer.Context) -> None:
    """Prints the help of a group that is called without a command."""
    if context.invoked_subcommand is None:
        print(context.get_help())


for group in (config_app, data_app):
    group.callback(invoke_without_command=True)(_help)


def _version(asked: bool) -> None:
    if asked:
        from weft.version import __version__

        print(f"weft {__version__}")
        raise typer.Exit


@app.callback(invoke_without_command=True)
def options(
    context: typer.Context,
    debug: Annotated[bool, typer.Option("--debug", help="Show the traceback of errors.")] = False,
    version: Annotated[
        bool, typer.Option("--version", callback=_version, is_eager=True, help="Show the version.")
    ] = False,
) -> None:
    """Options that stand before the command."""
    _Debug.on = debug
    _help(context)


class _Debug:
    """Whether errors show their traceback; set once per call of `main`."""

    on = False


def main(argv: Sequence[str] | None = None) -> int:
    """Runs a command line and returns its exit code.

    0 success, 1 failure, 2 a mistake in the request, 130 or 143 stopped by SIGINT or SIGTERM.

    Args:
        argv: the words after `weft`; those of this process if None.
    """
    plainly()
    with _remarks_shown(), stopped_by_signals() as stop:
        try:
            check_folder()
            code = app(args=list(sys.argv[1:] if argv is None else argv), standalone_mode=False)
        except REFUSAL as error:
            # Also raised, without a message, to show help when no command is given.
            if found := misread(error):
                tell(str(found))
            return 2
        except Raised as raised:
            return _ended(raised.error, stop)
        except BaseException as error:
            return _ended(error, stop)
        if stop.name is not None:
            # A library swallowed the signal's exception: its result cannot be relied upon.
            return _ended(Stopped(stop.name), stop)
    return code or 0


@contextmanager
def _remarks_shown() -> Iterator[None]:
    """Prints at the end what readers of data remarked (cut, dropped, rescaled), outside a run."""
    remarks: list[str] = []
    try:
        with collecting(remarks):
            yield
    finally:
        for text in remarks:
            tell(f"note: {text}")


def _ended(error: BaseException, stop: Stop) -> int:
    """Prints why the command ended, and returns its exit code."""
    if isinstance(error, SystemExit) and not isinstance(error, Stopped):
        if isinstance(error.code, str):
            tell(error.code)
        return error.code if isinstance(error.code, int) else int(error.code is not None)
    if isinstance(error, BrokenPipeError):
        return 0
    if stop.name is not None and not isinstance(error, WeftError):
        # A library turned the signal's exception into one of its own.
        error = Stopped(stop.name)
    found = fault(error)
    if found is None and isinstance(error, Exception):
        from weft.families import blame

        found = blame(error)
    if found is None or _Debug.on:
        tell("".join(traceback.format_exception(error)).rstrip())
    if found is not None:
        tell(str(found))
        return found.exit_code
    tell(f"error: {type(error).__name__}: {error}\n  this is a mistake in weft; please report it")
    return 1
