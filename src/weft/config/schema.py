"""The config as a JSON schema for editors, and as tables for people."""

from __future__ import annotations

import re
from collections.abc import Iterable, Iterator, Mapping
from typing import Any

from pydantic import BaseModel

from weft.config.base import FamilyConfig
from weft.config.explain import about, expected, models_of, tag_of
from weft.config.family import Family
from weft.config.recipe import recipe_class
from weft.config.rule import needs_of

Row = tuple[str, str, str]
_EVERY = Family("any", "What every run has.", FamilyConfig, task="", default="")
_HEAD = """<!-- Written by `weft config schema --table > docs/config.md`, and checked by a test. -->

# Options

A recipe such as `cet/mnist` is a preset: values for some of these keys. A file of your own begins
with `family: NAME` and sets what it changes; `key=value` on the command line overrides single keys.
`weft config show RECIPE --origin` prints what a recipe resolves to and where each value was set;
`weft config schema NAME > schema.json` writes a JSON schema for editors.

A cadence is written `390 steps` or `1 epoch`; a bare number means steps. A section with a `kind`
has the options of that kind, shown in brackets after the key, and no others. The table of a family
lists its own options and, at the end, options of every run for which it has another default."""


def json_schema(model: type[FamilyConfig]) -> dict[str, Any]:
    """JSON schema (draft 2020-12) of a recipe file."""
    return model.model_json_schema()


def options_table(model: type[FamilyConfig]) -> str:
    """Every option as a Markdown table: key, what it accepts, default and description."""
    return _table(_rows(model))


def options_page(families: Iterable[Family]) -> str:
    """The options of every run, then for each family those it adds or gives another default."""
    shared = [row for row in _rows(recipe_class(_EVERY)) if row[0] != "`family`"]
    keys = {row[0] for row in shared}
    parts = [_HEAD, "## Every family", _table(shared)]
    for family in families:
        rows = (row for row in _rows(recipe_class(family)) if row[0] != "`family`")
        own = sorted((row for row in rows if row not in shared), key=lambda row: row[0] in keys)
        summary = family.summary[:1].upper() + family.summary[1:].rstrip(".")
        parts += [f"## {family.name}", f"{summary}.", _table(own)]
    return "\n\n".join(parts)


def _table(rows: Iterable[Row]) -> str:
    lines = ["| key | accepts | meaning |", "|---|---|---|"]
    lines += [f"| {' | '.join(map(_escaped, row))} |" for row in rows]
    return "\n".join(lines)


def _escaped(text: str) -> str:
    """Text with `|`, which would end a cell, and `<`, which would start a tag, escaped."""
    return re.sub(r"\||<(?=\w)", r"\\\g<0>", text)


def _rows(
    model: type[BaseModel],
    defaults: BaseModel | None = None,
    prefix: str = "",
    tag: str = "",
    needs: Mapping[str, str] | None = None,
) -> Iterator[Row]:
    """A row for each option of a section.

    Args:
        model: the section's class.
        defaults: the default section, if it differs from its class's own defaults.
        prefix: the section's key and a dot.
        tag: the section's kind in brackets, if it is one of several.
        needs: what options need to have an effect; those of `model` if it is a recipe's class.
    """
    if needs is None:
        needs = model.all_needs() if issubclass(model, FamilyConfig) else {}
    for name, info in model.model_fields.items():
        key = prefix + name
        default = info.get_default(call_default_factory=True, validated_data={})
        if defaults is not None:
            default = getattr(defaults, name)
        branches = models_of(info.annotation)
        several = len(branches) > 1
        if several:
            tags = ", ".join(tag_of(branch) for branch in branches)
            yield f"`{key}.kind`", f"one of {tags}", about(info, default.kind)
        elif not branches and not (tag and name == "kind"):
            yield f"`{key}`{tag}", expected(info), f"{about(info, default)}{_only(key, needs)}"
        elif branches and key not in FamilyConfig.model_fields and "." not in key:
            said = f"{info.description or ''}{_only(key, needs)}"
            yield f"`{key}`", f"options `{key}.`…", said
        for branch in branches:
            mine = not several or tag_of(branch) == default.kind
            kind = f" ({tag_of(branch)})" if several else ""
            yield from _rows(branch, default if mine else None, f"{key}.", kind, needs)


def _only(key: str, needs: Mapping[str, str]) -> str:
    """A sentence on what the option or section itself needs to have an effect, after a blank."""
    own = needs_of(needs.get(key, ""))
    return f" Only where {' and '.join(map(str, own))}." if own else ""
