"""The command that runs a family's study by name, or lists what there is."""

from __future__ import annotations

from typing import Annotated

import typer

from weft.cli.output import described, emit
from weft.verbs.arguments import Json


def study(
    name: Annotated[
        str | None, typer.Argument(metavar="NAME", help="The study; left out, all are listed.")
    ] = None,
    words: Annotated[
        list[str] | None,
        typer.Argument(metavar="ARGS", help="The study's own: see `weft study NAME --help`."),
    ] = None,
    as_json: Json = False,
) -> int:
    """Run a study by name: a question that takes several runs, or a model before training."""
    from weft import studies

    if name is not None:
        return studies.find(name)(words or [])
    rows = {study: studies.about(path) for study, path in studies.paths().items()}
    emit(as_json, [{"study": key, "about": rows[key]} for key in rows], lambda: described(rows))
    return 0
