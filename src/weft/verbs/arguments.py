"""Options that several commands share, those of families among them."""

from __future__ import annotations

from typing import Annotated

import typer

Json = Annotated[bool, typer.Option("--json", help="Print JSON for machines.")]
DryRun = Annotated[bool, typer.Option("--dry-run", help="Only say what would be done.")]
Quiet = Annotated[bool, typer.Option("--quiet", "-q", help="Show no progress.")]
Workers = Annotated[
    int | None, typer.Option(min=1, help="Runs at a time; by default one per core or GPU.")
]
