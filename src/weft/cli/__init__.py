"""The command line: each command parses its words, calls the api, and prints."""

from __future__ import annotations

import sys
import traceback
from collections.abc import Sequence
from typing import Annotated

import typer
from typer.exceptions import TyperException

from weft.cli import authoring, config, data, installation, listing, study, training
from weft.cli.output import tell
from weft.errors import WeftError

app = typer.Typer(
    help="A workbench for neural systems that keep what they know in unusual places.",
    pretty_exceptions_enable=False,
    rich_markup_mode=None,
)
config_app = typer.Typer(help="Show a recipe's config or its schema.")
data_app = typer.Typer(help="List, fetch and verify data sets.")
app.add_typer(config_app, name="config")
app.add_typer(data_app, name="data")

for command in (
    training.train,
    training.resume,
    training.evaluate,
    training.sample,
    training.sweep,
    listing.runs,
    listing.report,
    listing.reproduce,
    installation.recipes,
    installation.doctor,
    installation.bench,
):
    app.command()(command)
app.command("new-family")(authoring.new_family)
config_app.command("show")(config.show)
config_app.command("schema")(config.schema)
# What follows the name is the study's own, `--help` too.
app.command(context_settings={"allow_interspersed_args": False})(study.study)
data_app.command("list")(data.list_sets)
data_app.command("get")(data.get)
data_app.command("check")(data.check)


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
    try:
        code = app(args=list(sys.argv[1:] if argv is None else argv), standalone_mode=False)
    except TyperException as error:
        message = error.format_message() if hasattr(error, "format_message") else str(error)
        tell(f"usage error: {message}\n  `weft --help` and `weft COMMAND --help` say more")
        return 2
    except WeftError as error:
        return _told(error)
    except KeyboardInterrupt:
        tell("interrupted")
        return 130
    except BrokenPipeError:
        return 0
    except Exception as error:
        from weft.families import blame

        if (authors := blame(error)) is not None:
            return _told(authors)
        traceback.print_exc()
        tell(
            f"error: {type(error).__name__}: {error}\n  this is a mistake in weft; please report it"
        )
        return 1
    return code or 0


def _told(error: WeftError) -> int:
    if _Debug.on:
        traceback.print_exc()
    tell(str(error))
    return error.exit_code
