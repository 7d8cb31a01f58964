"""A config on a page: nested lists in which values that differ from the defaults are marked."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

from weft.reports.html import safe, scalar

_MISSING = object()


def config_tree(config: Mapping[str, Any], defaults: Mapping[str, Any] | None) -> str:
    """The config as HTML, with the default beside each value that differs from it."""
    note = ""
    if defaults is not None:
        note = '<p class="muted">Bold: differs from the default, which stands beside it.</p>'
    return f'{note}<div class="card tree">{_tree(config, defaults)}</div>'


def _tree(values: Mapping[str, Any], defaults: Mapping[str, Any] | None) -> str:
    """Nested lists, sections last; a section is open if a value in it differs from the default."""
    items = []
    for key, value in sorted(values.items(), key=lambda item: isinstance(item[1], Mapping)):
        known = _MISSING if defaults is None else defaults.get(key, _MISSING)
        label = f'<span class="key">{safe(key)}:</span>'
        if isinstance(value, Mapping):
            # If a section is of another kind than the default's, there are no defaults to compare.
            below = known if isinstance(known, Mapping) else {}
            inner = _tree(value, None if defaults is None else below)
            opened = " open" if 'class="changed"' in inner else ""
            items.append(f"<li><details{opened}><summary>{label}</summary>{inner}</details></li>")
            continue
        text = safe(scalar(value))
        if known is not _MISSING and not _same(value, known):
            text = (
                f'<span class="changed">{text}</span>'
                f'<span class="origin">default {safe(scalar(known))}</span>'
            )
        items.append(f"<li>{label} {text}</li>")
    return f"<ul>{''.join(items)}</ul>"


def _same(value: Any, default: Any) -> bool:
    if isinstance(value, list | tuple) and isinstance(default, list | tuple):
        return list(value) == list(default)
    return bool(value == default)
