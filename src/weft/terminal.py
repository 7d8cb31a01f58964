"""What reaches a terminal, a pipe or a log: never an escape from a name, never half a character."""

from __future__ import annotations

import codecs
import os
import re
import sys
from collections.abc import Iterable
from contextlib import suppress
from typing import TYPE_CHECKING, Any, TextIO

if TYPE_CHECKING:
    from rich.console import Console
    from rich.text import Text

# Controls but for tab and line feed, and what turns the direction of text around.
_STEERING = re.compile(r"[\x00-\x08\x0b-\x1f\x7f-\x9f\u200e\u200f\u202a-\u202e\u2066-\u2069]")
_PLAIN = {
    "≥": ">=",
    "≤": "<=",
    "—": "-",
    "\u2013": "-",
    "…": "...",
    "±": "+-",
    "\u00d7": "x",
    "·": "-",
}
_PLAINLY = "weft.plain"


def printable(text: str) -> str:
    """`text` with the characters that would steer a terminal written out, such as `\\x1b`."""
    return _STEERING.sub(lambda found: ascii(found[0])[1:-1], text)


def show(text: str) -> None:
    """Prints to stdout; a reader that has left, as `head` does, ends the command quietly.

    Raises:
        SystemExit: with 0, if nobody reads any more.
        OSError: if the system refuses, as on a full disk.
    """
    _write(printable(text) + "\n")


def show_table(content: Any) -> None:
    """Prints something of rich's to stdout."""
    terminal = console(sys.stdout)
    with terminal.capture() as captured:
        terminal.print(content, crop=False)
    _write(captured.get())


def tell(text: str) -> None:
    """Prints to stderr, where it does not mix with results; nothing if nobody reads it."""
    with suppress(OSError, ValueError):
        print(printable(text), file=sys.stderr, flush=True)


def console(stream: TextIO) -> Console:
    """A console of rich's for a stream, that prints no escapes but its own."""
    from rich.console import Console
    from rich.segment import Segment

    class Careful(Console):
        """Cleans what is rendered, whatever it is."""

        def render(self, *arguments: Any, **options: Any) -> Iterable[Segment]:
            for text, look, control in super().render(*arguments, **options):
                yield Segment(text if control else printable(text), look, control)

    # Names and paths are shown as they are: `[red]` is no colour in one, nor `:cat:` a picture.
    literal: dict[str, Any] = {"markup": False, "emoji": False, "highlight": False}
    shown = Careful(file=stream, **literal)
    # A file has no edge at which to break a table's lines.
    return shown if shown.is_terminal else Careful(file=stream, width=160, **literal)


def unbroken(text: str, look: str = "") -> Text:
    """Lines for rich that no width breaks, so that a path in them can be copied.

    Args:
        text: the lines.
        look: a style of rich's.
    """
    from rich.text import Text

    return Text(text, style=look, no_wrap=True, overflow="ignore")


def plainly() -> None:
    """Has stdout and stderr take any text, whatever their encoding: `≥` in ASCII is `>=`."""
    _open()
    codecs.register_error(_PLAINLY, _plain)
    for stream in (sys.stdout, sys.stderr):
        reconfigure = getattr(stream, "reconfigure", None)
        if reconfigure is not None and stream.errors in ("strict", "backslashreplace"):
            reconfigure(errors=_PLAINLY)


def _open() -> None:
    """Has the standard streams be there, as `/dev/null` where they were closed: else the next file
    that is opened, a checkpoint for one, takes their place and what libraries print."""
    for number in range(3):
        try:
            os.fstat(number)
        except OSError:
            null = os.open(os.devnull, os.O_RDWR)
            if null != number:
                os.dup2(null, number)
                os.close(null)
    for name, mode in (("stdin", "r"), ("stdout", "w"), ("stderr", "w")):
        if getattr(sys, name) is None:
            setattr(sys, name, open(os.devnull, mode, encoding="utf-8"))  # noqa: SIM115


def _plain(error: UnicodeError) -> tuple[str, int]:
    if not isinstance(error, UnicodeEncodeError):
        raise error
    found = error.object[error.start : error.end]
    return "".join(_PLAIN.get(c, ascii(c)[1:-1]) for c in found), error.end


def _write(text: str) -> None:
    if sys.stdout is None:
        return
    try:
        sys.stdout.write(text)
        sys.stdout.flush()
    except OSError as error:
        _silence(sys.stdout)
        if isinstance(error, BrokenPipeError):
            raise SystemExit(0) from error
        error.filename = error.filename or "standard output"
        raise


def _silence(stream: TextIO) -> None:
    """What is left in its buffer goes nowhere, or the interpreter would try it again at its end."""
    with suppress(OSError, ValueError):
        nowhere = os.open(os.devnull, os.O_WRONLY)
        os.dup2(nowhere, stream.fileno())
        os.close(nowhere)
