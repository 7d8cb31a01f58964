"""The config as a JSON schema for editors, and as a table for people."""

from __future__ import annotations

from typing import Any

from pydantic import BaseModel

from weft.config.base import FamilyConfig
from weft.config.explain import about, expected, models_of, tag_of


def json_schema(model: type[FamilyConfig]) -> dict[str, Any]:
    """JSON schema (draft 2020-12) of a recipe file."""
    return model.model_json_schema()


def options_table(model: type[FamilyConfig]) -> str:
    """Every option as a Markdown table: key, what it accepts, default and description."""
    lines = ["| key | accepts | meaning |", "|---|---|---|"]
    lines += ["| " + " | ".join(c.replace("|", "\\|") for c in row) + " |" for row in _rows(model)]
    return "\n".join(lines)


def _rows(model: type[BaseModel], prefix: str = "", tag: str = "") -> list[tuple[str, str, str]]:
    rows = []
    for name, info in model.model_fields.items():
        key = prefix + name
        branches = models_of(info.annotation)
        if len(branches) > 1:
            tags = ", ".join(tag_of(branch) for branch in branches)
            rows.append((f"`{key}.kind`", f"one of {tags}", info.description or ""))
        elif not branches and not (tag and name == "kind"):
            rows.append((f"`{key}`{tag}", expected(info), about("", info)))
        for branch in branches:
            kind = f" ({tag_of(branch)})" if len(branches) > 1 else ""
            rows += _rows(branch, f"{key}.", kind)
    return rows
