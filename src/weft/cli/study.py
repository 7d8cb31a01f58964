"""The command that runs a family's study by name, or lists what there is."""

from __future__ import annotations

from typing import Annotated

import typer

from weft.cli.arguments import Json
from weft.cli.output import described, emit


def study(
    name: Annotated[
        str | None, typer.Argument(metavar="NAME", help="The study; without one all are listed.")
    ] = None,
    words: Annotated[
        list[str] | None,
        typer.Argument(metavar="ARGS", help="What `weft study NAME --help` says."),
    ] = None,
    as_json: Json = False,
) -> int:
    """Run a study by name: what is asked of several runs, or of a model before any."""
    from weft import studies

    if name is not None:
        return studies.find(name)(words or [])
    rows = {study: studies.about(path) for study, path in studies.paths().items()}
    emit(as_json, [{"study": key, "about": rows[key]} for key in rows], lambda: described(rows))
    return 0
