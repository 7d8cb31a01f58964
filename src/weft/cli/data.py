"""`weft data`: list, fetch and verify data sets."""

from __future__ import annotations

import sys
from collections.abc import Mapping
from pathlib import Path
from typing import Annotated, Any

import typer

from weft.cli.arguments import Json
from weft.cli.output import described, emit, pairs
from weft.errors import WeftError


def list_sets(root: Annotated[Path | None, typer.Option()] = None, as_json: Json = False) -> None:
    """List the data sets weft knows and whether they are here."""
    from weft.data.catalog.sets import SETS
    from weft.data.fetch import locate

    rows: list[dict[str, Any]] = []
    for name, data_set in SETS.items():
        place = locate(name, root=root)
        rows.append(
            {
                "name": name,
                "here": place.complete,
                "items": dict(data_set.sizes),
                "licence": data_set.licence,
                "files": [str(status.path) for status in place.files if status.path],
            }
        )
    emit(
        as_json,
        rows,
        lambda: described({row["name"]: _shown(row) for row in rows}),
    )


def _shown(row: Mapping[str, Any]) -> str:
    """Whether a data set is here, and how many items its parts have."""
    parts = (f"{split} {count:,}" for split, count in row["items"].items())
    return f"{'here' if row['here'] else 'not here':<8}  {'  '.join(parts)}"


def get(
    name: str, root: Annotated[Path | None, typer.Option()] = None, as_json: Json = False
) -> None:
    """Download a data set, with its checksums verified."""
    from weft.data import fetch

    def progress(file: str, done: int, total: int) -> None:
        if not as_json and sys.stderr.isatty():
            print(f"\r{file}  {done / total:.0%}", end="", file=sys.stderr)

    place = fetch.get(name, root=root, progress=progress)
    files = {status.file.name: str(status.path) for status in place.files}
    emit(as_json, files, lambda: pairs(files))


def check(
    name: str, root: Annotated[Path | None, typer.Option()] = None, as_json: Json = False
) -> None:
    """Verify the checksums of a data set's files; exit code 1 if one is missing or damaged."""
    from weft.data import fetch

    place = fetch.check(name, root=root)
    states = {status.file.name: status.state for status in place.files}
    emit(as_json, states, lambda: pairs(states))
    if not place.intact:
        raise WeftError(f"data set `{name}` is not intact", hint=f"weft data get {name}")
