"""What a command line that typer could not read is told: the command, its form, what was meant."""

from __future__ import annotations

import re
from importlib import import_module
from pathlib import Path
from typing import Any

from typer.core import TyperGroup

from weft.errors import UsageError
from weft.shell import quoted

_TOO_MANY = re.compile(r"Got unexpected extra argument\S* \((.*)\)$")


def _refusal() -> type[Exception]:
    """What typer raises; before 0.28 it is built on click, and raises click's exceptions."""
    try:
        module = import_module("typer.exceptions")
    except ModuleNotFoundError:
        module = import_module("click.exceptions")
    kind: type[Exception] = getattr(module, "TyperException", None) or module.ClickException
    return kind


REFUSAL = _refusal()


def misread(error: Any) -> UsageError | None:
    """The error for words that typer refused, a `REFUSAL`; None if it only shows help."""
    # Pydantic's word, not ours.
    message = str(error.format_message()).replace(": Value error, ", ": ")
    context = getattr(error, "ctx", None)
    if not message:
        return None
    if context is None or context.parent is None:
        return UsageError(message, hint="`weft --help` lists the commands")
    command = _command(context)
    hints = [f"`{command} --help` says more"]
    if isinstance(context.command, TyperGroup):
        known = ", ".join(context.command.list_commands(context))
        return UsageError(message, expected=f"one of {known}", hint=hints[0])
    taken = [each for each in context.command.params if each.param_type_name == "argument"]
    extra = _TOO_MANY.match(message)
    if extra and not taken and any("--root" in each.opts for each in context.command.params):
        # Other commands take a folder of runs as their argument.
        folder = quoted(Path(extra[1])) if Path(extra[1]).exists() else "FOLDER"
        hints.insert(0, f"did you mean `{command} --root {folder}`?")
    form = [command, *(str(each.metavar or each.name.upper()) for each in taken), "[--OPTION ...]"]
    return UsageError(message, expected=f"`{' '.join(form)}`", hint="\n".join(hints))


def _command(context: Any) -> str:
    """The command's words, without the program's own name, which may be that of a file."""
    return f"{_command(context.parent)} {context.info_name}" if context.parent else "weft"
