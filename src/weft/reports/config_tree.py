"""A config in a page: nested lists, in which what differs from the defaults stands out."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

from weft.reports.html import safe, scalar

_MISSING = object()


def config_tree(config: Mapping[str, Any], defaults: Mapping[str, Any] | None) -> str:
    """The config, and beside each value that differs from `defaults` what it is by default."""
    note = ""
    if defaults is not None:
        note = '<p class="muted">Bold: differs from the default, which stands beside it.</p>'
    return f'{note}<div class="card tree">{_tree(config, defaults)}</div>'


def _tree(values: Mapping[str, Any], defaults: Mapping[str, Any] | None) -> str:
    """Nested lists, sections last; a section is open if it holds a value that was changed."""
    items = []
    for key, value in sorted(values.items(), key=lambda item: isinstance(item[1], Mapping)):
        known = _MISSING if defaults is None else defaults.get(key, _MISSING)
        label = f'<span class="key">{safe(key)}:</span>'
        if isinstance(value, Mapping):
            # A section of another kind than the default's has no defaults to compare with.
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
