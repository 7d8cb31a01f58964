"""The parts of all pages: self-contained files in light and dark that fetch nothing and run at most
one script of their own, which the content policy names by its hash."""

from __future__ import annotations

import base64
import hashlib
import json
import re
from collections.abc import Mapping, Sequence
from functools import cache
from html import escape
from importlib.resources import files
from pathlib import Path
from typing import Any
from urllib.parse import quote

from weft.atomic import write_text
from weft.config.yaml import is_number
from weft.plots.style import PALETTE, PALETTE_DARK
from weft.reports.claims import by_metric
from weft.reports.tables import Table, format_number, is_numeric, text_rows, tone_of
from weft.task.metric import Metric

_CODE = re.compile(r"`([^`\n]+)`")
_LONG = 40
"""Characters of a cell's text from which on it is broken into lines."""


def write(path: Path, title: str, parts: Sequence[str], script: str = "") -> Path:
    """Writes a page and returns its path.

    Args:
        path: of the page.
        title: shown in the browser's tab.
        parts: HTML, from top to bottom.
        script: JavaScript that runs at the end; the page must work without it, too.
    """
    # The policy enforces this even for text that escaped `safe`.
    digest = base64.b64encode(hashlib.sha256(script.encode()).digest()).decode()
    policy = f" script-src 'sha256-{digest}';" if script else ""
    run = f"<script>{script}</script>" if script else ""
    page = f"""<!doctype html>
<html lang="en">
<head>
<meta charset="utf-8">
<meta name="viewport" content="width=device-width, initial-scale=1">
<meta name="color-scheme" content="light dark">
<meta http-equiv="Content-Security-Policy"
  content="default-src 'none';{policy} style-src 'unsafe-inline'; img-src data:">
<link rel="icon" href="data:,">
<title>{safe(title)} · weft</title>
<style>{_css()}</style>
</head>
<body>
{"".join(parts)}
<footer>Written by weft. This page holds everything it shows and fetches nothing.</footer>
{run}</body>
</html>
"""
    write_text(path, page)
    return path


def section(title: str, content: str) -> str:
    """A titled part of a page; "" if it has no content."""
    return f"<section><h2>{safe(title)}</h2>{content}</section>" if content else ""


def card(content: str) -> str:
    """A framed piece of a page."""
    return f'<div class="card">{content}</div>'


def pairs(values: Mapping[str, str]) -> str:
    """Names and values in a frame; "" if there are none."""
    if not values:
        return ""
    rows = "".join(
        f'<tr><th scope="row">{safe(key)}</th><td>{safe(value)}</td></tr>'
        for key, value in values.items()
    )
    return card(f"<table><tbody>{rows}</tbody></table>")


def cell(text: str) -> str:
    """Text of a cell; a long one is broken into lines, lest it push other columns out of sight."""
    return f'<span class="long">{safe(text)}</span>' if len(text) > _LONG else safe(text)


def table_html(table: Table) -> str:
    """The table as HTML, with coloured status words and the best number of each metric bold."""
    numeric = [
        ' class="number"' if is_numeric(table, c) else ' class="prose"' * (c.role == "prose")
        for c in table.columns
    ]
    head = "".join(
        f"<th{kind}{_title(column.metric)}>{cell(column.heading)}</th>"
        for column, kind in zip(table.columns, numeric, strict=True)
    )
    best, body = table.best(), []
    for place, row in enumerate(text_rows(table)):
        cells = []
        for text, column, kind in zip(row, table.columns, numeric, strict=True):
            if column.role == "status":
                kind = f' class="{tone_of(text)}"'
            shown = prose(text) if column.role == "prose" else cell(text)
            shown = f"<strong>{shown}</strong>" if (place, column.key) in best else shown
            cells.append(f"<td{kind}>{shown}</td>")
        body.append(f"<tr>{''.join(cells)}</tr>")
    note = f'<p class="note">{prose(table.caption)}</p>' if table.caption else ""
    told = ' class="told"' if any(column.role == "prose" for column in table.columns) else ""
    return (
        f"<table{told}><thead><tr>{head}</tr></thead><tbody>{''.join(body)}</tbody></table>{note}"
    )


def published(claims: Table) -> str:
    """A table of claims as HTML, a section for each metric."""
    return "".join(
        section(f"Published and ours: {table.title}", card(table_html(table)))
        for table in by_metric(claims)
    )


def metric_name(shown: str, metric: Metric | None) -> str:
    """The name of a metric, with its meaning as a tooltip."""
    return f"<span{_title(metric)}>{safe(shown)}</span>"


def _title(metric: Metric | None) -> str:
    if metric is None:
        return ""
    words = f"{metric.about} {metric.better.capitalize()} is better.".strip()
    return f' title="{safe(words)}"'


def link(path: str, shown: str) -> str:
    """A link to a file beside or below the page, whatever characters its name has.

    Args:
        path: relative to the page, with `/` between folders.
        shown: HTML.
    """
    # Colons are quoted as well, so that a name is never read as a URL with a scheme.
    return f'<a href="{safe(quote(path))}">{shown}</a>'


def number(value: Any) -> str:
    """A number formatted for people; other values as text."""
    if value is None or is_number(value):
        return format_number(value)
    return scalar(value)


def scalar(value: Any) -> str:
    """A value as the config file writes it."""
    if isinstance(value, str):
        return value
    return json.dumps(value, ensure_ascii=False, default=str)


def safe(text: Any) -> str:
    """Text that is safe between tags and in attributes."""
    return escape(str(text), quote=True)


def prose(text: Any) -> str:
    """A sentence, in which what stands between backticks is shown as code."""
    return _CODE.sub(r"<code>\1</code>", safe(text))


@cache
def _css() -> str:
    """The style sheet, with the figures' dark palette inserted into its dark section."""
    text = (files("weft.reports") / "page.css").read_text(encoding="utf-8")
    light = "".join(f"--line-{i}:{colour};" for i, colour in enumerate(PALETTE))
    dark = "".join(f"--line-{i}:{colour};" for i, colour in enumerate(PALETTE_DARK))
    return text + (
        f":root{{{light}}}@media screen and (prefers-color-scheme: dark){{:root{{{dark}}}}}"
    )
