"""The command line: each command parses its words, calls the api, and prints."""

from __future__ import annotations

import sys
import traceback
from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from typing import Annotated

import typer
from typer.exceptions import TyperException

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
# What follows the name is the study's own, `--help` too.
own("study", study.study, {"allow_interspersed_args": False})
own("config show", config.show)
own("config schema", config.schema)
own("data list", data.list_sets)
own("data get", data.get)
own("data check", data.check)
own("data pack", packing.pack)


def _help(context: typer.Context) -> None:
    """Shows what commands there are where none is named."""
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
    """Runs a command line and gives its exit code: 0, 1 failure, 2 usage, 130/143 interrupted."""
    plainly()
    with _noted(), stopped_by_signals() as stop:
        try:
            check_folder()
            code = app(args=list(sys.argv[1:] if argv is None else argv), standalone_mode=False)
        except TyperException as error:
            # Also raised, without a message, to show help when no command is given.
            message = error.format_message() if hasattr(error, "format_message") else str(error)
            if message:
                message = message.replace(": Value error, ", ": ")  # Pydantic's word, not ours.
                tell(f"usage error: {message}\n  `weft --help` and `weft COMMAND --help` say more")
            return 2
        except Raised as raised:
            return _ended(raised.error, stop)
        except BaseException as error:
            return _ended(error, stop)
        if stop.name is not None:
            # Somebody swallowed the exception; what came of it is not to be relied upon.
            return _ended(Stopped(stop.name), stop)
    return code or 0


@contextmanager
def _noted() -> Iterator[None]:
    """Tells at the end what readers did to data, where no run keeps it."""
    remarks: list[str] = []
    try:
        with collecting(remarks):
            yield
    finally:
        for text in remarks:
            tell(f"note: {text}")


def _ended(error: BaseException, stop: Stop) -> int:
    """Says why the command ended, and gives its exit code."""
    if isinstance(error, SystemExit) and not isinstance(error, Stopped):
        if isinstance(error.code, str):
            tell(error.code)
        return error.code if isinstance(error.code, int) else int(error.code is not None)
    if isinstance(error, BrokenPipeError):
        return 0
    if stop.name is not None and not isinstance(error, WeftError):
        # Whatever a library made of the exception that the signal raised in it.
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
