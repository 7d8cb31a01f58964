"""`weft new-family`: writes a family of your own from a template that already trains."""

from __future__ import annotations

from pathlib import Path
from typing import TYPE_CHECKING, Annotated

import typer

from weft.cli.output import emit
from weft.verbs.arguments import Json

if TYPE_CHECKING:
    from weft.template.write import Written


def new_family(
    name: Annotated[str, typer.Argument(help="Name of the family, such as `my_model`.")],
    outside: Annotated[
        bool, typer.Option("--outside", help="Make it a package of its own, in a new folder here.")
    ] = False,
    as_json: Json = False,
) -> None:
    """Write a new family that trains, resumes, sweeps and passes its tests."""
    from weft.template.write import write_inside, write_outside

    written = write_outside(name, Path()) if outside else write_inside(name)
    values = {
        "home": str(written.home),
        "files": [str(path) for path in written.files],
        "before": written.before,
        "commands": written.commands,
        "after": list(written.after),
    }
    emit(as_json, values, lambda: _text(written))


def _text(written: Written) -> str:
    lines = [f"wrote {len(written.files)} files, most of them in {written.home}", ""]
    if written.before:
        lines += [f"    {written.before}", ""]
    notes = {"resume": "   # after Ctrl-C, or a crash"}
    lines += [f"    {line}{notes.get(verb, '')}" for verb, line in written.commands.items()]
    if written.after:
        lines += ["", "Before you commit:", *(f"    {line}" for line in written.after)]
    lines += [
        "",
        "docs/family.md of weft's repository says what each file is for; its tests/toy is the",
        "smallest family that trains, to read beside this one.",
    ]
    return "\n".join(lines)
