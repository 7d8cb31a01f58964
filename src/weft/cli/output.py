"""What commands print: JSON for machines, aligned text and tables for people."""

from __future__ import annotations

import json
import math
import shutil
import textwrap
from collections.abc import Callable, Mapping
from typing import TYPE_CHECKING, Any

from weft.terminal import show, show_table

if TYPE_CHECKING:
    from rich.console import RenderableType


def emit(as_json: bool, values: Any, text: Callable[[], RenderableType]) -> None:
    """Prints `values` as JSON, in which NaN is null, or the text that `text` makes of them."""
    if as_json:
        show(json.dumps(_finite(values), indent=2, default=str, allow_nan=False))
        return
    shown = text()
    if isinstance(shown, str):
        show(shown)
    else:
        show_table(shown)


def _finite(values: Any) -> Any:
    """The values with null for every number that JSON does not know."""
    if isinstance(values, Mapping):
        return {key: _finite(value) for key, value in values.items()}
    if isinstance(values, list | tuple):
        return [_finite(value) for value in values]
    return None if isinstance(values, float) and not math.isfinite(values) else values


def pairs(values: Mapping[str, Any]) -> str:
    """Two aligned columns."""
    width = max(map(len, values), default=0)
    return "\n".join(f"{key:<{width}}  {value}" for key, value in values.items())


def described(values: Mapping[str, str], width: int | None = None) -> str:
    """Names, and beside or below each what it is, in lines of at most `width` characters.

    Args:
        values: what each name is.
        width: the terminal's, or 80 where there is none, unless it is given.
    """
    width = width or max(40, shutil.get_terminal_size((80, 24)).columns)
    beside = min(max(map(len, values), default=0), width // 4)
    lines: list[str] = []
    for name, about in values.items():
        head = f"{name:<{beside}}  "
        if len(name) > beside:
            lines.append(name)
            head = " " * (beside + 2)
        lines += textwrap.wrap(
            about,
            width,
            initial_indent=head,
            subsequent_indent=" " * (beside + 2),
            break_on_hyphens=False,
        ) or [head.rstrip()]
    return "\n".join(lines)


def readable(values: Mapping[str, Any]) -> dict[str, str]:
    """Values as people read them; those of a mapping below are named `key.below`."""
    shown: dict[str, str] = {}
    for key, value in values.items():
        if isinstance(value, Mapping):
            shown |= {f"{key}.{below}": text for below, text in readable(value).items()}
        elif key.startswith("bytes"):
            shown[key] = f"{value / 2**20:,.1f} MiB"
        else:
            shown[key] = f"{value:,}" if isinstance(value, int) else str(value)
    return shown
