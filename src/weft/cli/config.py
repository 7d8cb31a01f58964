"""`weft config`: a recipe's resolved values and where they come from, and its schema."""

from __future__ import annotations

import json
from typing import Annotated, Any

import typer

from weft.cli.arguments import Words
from weft.cli.output import emit, pairs
from weft.verbs.arguments import Json


def show(
    words: Words,
    origin: Annotated[
        bool, typer.Option("--origin", help="Say where each value came from.")
    ] = False,
    as_json: Json = False,
) -> None:
    """Print the resolved config."""
    from weft import api
    from weft.config.layer import leaves, value_at
    from weft.config.yaml import write
    from weft.run.parents import whereabouts

    resolved = api.configure(*words)
    values, parents = resolved.config.plain(), whereabouts(resolved.config)
    if not origin:
        # As comments, so that the output is a file that `weft train` takes.
        notes = "".join(f"\n# {key}: {where}" for key, where in parents.items())
        emit(as_json, values, lambda: write(values).rstrip() + notes)
        return
    rows: dict[str, dict[str, Any]] = {}
    for path in leaves(values):
        key = ".".join(path)
        rows[key] = {"value": value_at(values, path), "origin": resolved.origin(path) or "default"}
        if key in parents:
            rows[key]["origin"] += f"; {parents[key]}"
    emit(
        as_json,
        rows,
        lambda: pairs({k: f"{_word(r['value'])}   ({r['origin']})" for k, r in rows.items()}),
    )


def _word(value: Any) -> str:
    """A value as one would type it after `key=` on the command line."""
    return value if isinstance(value, str) and value else json.dumps(value, ensure_ascii=False)


def schema(
    family: Annotated[
        str | None, typer.Argument(help="Family whose recipes are described; by default all.")
    ] = None,
    table: Annotated[
        bool, typer.Option("--table", help="Print a table of all options instead of JSON schema.")
    ] = False,
    as_json: Json = False,
) -> None:
    """Print the JSON schema of a family's recipes, or all options as a table."""
    from weft import families
    from weft.config.recipe import recipe_class
    from weft.config.schema import json_schema, options_page, options_table

    if family is None:
        found = [families.find(name) for name in families.names()]
        schemas = {one.name: json_schema(recipe_class(one)) for one in found}
        emit(as_json or not table, schemas, lambda: options_page(found))
        return
    model = recipe_class(families.find(family))
    emit(as_json or not table, json_schema(model), lambda: options_table(model))
