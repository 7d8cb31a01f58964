"""`weft data`: list, fetch and verify data sets."""

from __future__ import annotations

import sys
from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Any

import typer

from weft.cli.output import described, emit, pairs
from weft.errors import WeftError
from weft.verbs.arguments import Json

if TYPE_CHECKING:
    from weft.data.catalog.entry import DataSet


Name = Annotated[str, typer.Argument(help="A data set, as `weft data list` names it.")]
Root = Annotated[
    Path | None, typer.Option(help="Folder to look in first, before $WEFT_DATA and the cache.")
]


def list_sets(root: Root = None, as_json: Json = False) -> None:
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
        lambda: described({row["name"]: _about(SETS[row["name"]], row["here"]) for row in rows}),
    )


def _about(data_set: DataSet, here: bool) -> str:
    """One line on a data set: whether it is here, its kind and shape, items a split, licence."""
    shape, classes = data_set.shape, len(data_set.classes)
    what = str(data_set.kind)
    if data_set.kind == "images":
        what += f" of {shape[1]} x {shape[2]} pixels{', in colour' * (shape[0] == 3)}"
    elif data_set.kind == "series":
        what += (
            f" of {shape[0]:,} steps" * bool(shape[0])
            + f", {shape[1]} channel{'s' * (shape[1] > 1)}"
        )
    what += f", {classes} classes" if classes else ""
    parts = ", ".join(f"{split} {count:,}" for split, count in data_set.sizes.items())
    return f"{'here' if here else 'not here'}: {what}; {parts}. Licence: {data_set.licence}."


def get(name: Name, root: Root = None, as_json: Json = False) -> None:
    """Download a data set and verify its checksums."""
    from weft.data import fetch

    def progress(file: str, done: int, total: int) -> None:
        if not as_json and sys.stderr.isatty():
            print(f"\r{file}  {done / total:.0%}", end="", file=sys.stderr)

    place = fetch.get(name, root=root, progress=progress)
    files = {status.file.name: str(status.path) for status in place.files}
    emit(as_json, files, lambda: pairs(files))


def check(name: Name, root: Root = None, as_json: Json = False) -> None:
    """Verify the checksums of a data set's files; exit code 1 if one is missing or damaged."""
    from weft.data import fetch

    place = fetch.check(name, root=root)
    states = {status.file.name: status.state for status in place.files}
    emit(as_json, states, lambda: pairs(states))
    if not place.intact:
        raise WeftError(f"data set `{name}` is not intact", hint=f"weft data get {name}")
