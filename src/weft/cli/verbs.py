"""weft's own commands and those of families, each built only when it is called or listed."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from functools import wraps
from importlib.metadata import entry_points
from typing import Any

import typer
from typer.core import TyperGroup

from weft.errors import PluginError, WeftError
from weft.verbs import OURS

Command = Callable[..., Any]


class Raised(BaseException):
    """Carries what a command raised past typer, which would turn some errors into others."""

    def __init__(self, error: BaseException) -> None:
        self.error = error
        super().__init__(error)


def carried(command: Command) -> Command:
    """The command with its errors wrapped in `Raised`, so that typer does not handle them."""

    @wraps(command)
    def run(*arguments: Any, **options: Any) -> Any:
        try:
            return command(*arguments, **options)
        except BaseException as error:
            raise Raised(error) from error

    return run


_OWN: dict[str, tuple[Command, dict[str, Any] | None]] = {}
"""weft's own commands: verb -> its function, and typer's context settings."""


def own(verb: str, command: Command, settings: dict[str, Any] | None = None) -> None:
    """Declares one of weft's own commands; typer reads its parameters only when it is called or
    listed, since that takes time."""
    _OWN[verb] = command, settings


class Commands(TyperGroup):
    """weft's own commands, and those of families, which are loaded when another name is typed.

    The groups `config` and `data` hold the verbs `GROUP NAME`, the outermost group those of one
    word.
    """

    def get_command(self, ctx: Any, cmd_name: str) -> Any:
        """The command of this name, or None."""
        if cmd_name not in self.commands and not self._add_own(cmd_name):
            self._add(declared())
            if cmd_name not in self.commands:
                self.list_commands(ctx)  # Click suggests similar names of commands it knows.
        return super().get_command(ctx, cmd_name)

    def list_commands(self, ctx: Any) -> list[str]:
        """The names of all commands, for help and for the shell's completion."""
        ours = [name for verb in _OWN if self._add_own(name := verb.rpartition(" ")[2])]
        self._add(listed())
        return [*ours, *(name for name in super().list_commands(ctx) if name not in ours)]

    def _add_own(self, name: str) -> bool:
        """Builds weft's own command of this name in this group, and says whether there is one."""
        found = _OWN.get(f"{self.name or ''} {name}".strip())
        if found is not None and name not in self.commands:
            self.commands[name] = _command(name, *found)
        return found is not None

    def _add(self, verbs: Mapping[str, tuple[str, ...]]) -> None:
        """Adds what families declare; weft's own commands cannot be replaced."""
        for verb, path in verbs.items():
            group, _, name = verb.rpartition(" ")
            if group == (self.name or "") and name not in self.commands:
                self.commands[name] = _built(name, path)


def listed() -> dict[str, tuple[str, ...]]:
    """As `declared`, but without importing weft's own families where no others are installed."""
    if entry_points(group="weft.families"):
        return declared()
    return {verb: (path,) for verb, path in OURS.items()}


def declared() -> dict[str, tuple[str, ...]]:
    """Verb -> the "module:function" of each family that declares it.

    A family that does not load is skipped; `weft doctor` shows it.
    """
    from weft import families

    found: dict[str, tuple[str, ...]] = {}
    for name in families.names():
        try:
            verbs = families.find(name).verbs
        except WeftError:
            continue
        for verb, path in verbs.items():
            found[verb] = (*found.get(verb, ()), path)
    return found


def _built(name: str, paths: tuple[str, ...]) -> Any:
    """The command for the shell; a broken one says why in the help and when it is called."""
    from weft.config.place import place, told
    from weft.config.plugins import resolve

    try:
        if len(paths) > 1:
            raise PluginError(
                f"command `{name}` is brought by {' and by '.join(paths)}",
                expected="each command from one family",
                hint="rename one of them, or uninstall its package",
            )
        function = resolve(paths[0], f"command `{name}`")
        try:
            return _command(name, function)
        except Exception as error:
            raise PluginError(
                f"command `{name}`: {told(error)}",
                where=place(function),
                expected="a function whose parameters typer knows to read",
            ) from error
    except WeftError as error:
        broken = error

    def tell(context: typer.Context) -> None:
        raise broken

    tell.__doc__ = f"Broken: {broken.message}."
    anything = {"ignore_unknown_options": True, "allow_extra_args": True}
    return _command(name, tell, anything)


def _command(name: str, function: Command, settings: dict[str, Any] | None = None) -> Any:
    """A function as a command that typer can run."""
    app = typer.Typer(add_completion=False, rich_markup_mode=None)
    app.command(name, context_settings=settings)(carried(function))
    return typer.main.get_command(app)
