"""The config class of a recipe: the family's own, with the unions of all known kinds."""

from __future__ import annotations

from functools import cache, reduce
from operator import or_
from typing import Annotated, Any, Literal

from pydantic import BaseModel, Field, create_model

from weft.config.base import FamilyConfig
from weft.config.family import Family
from weft.config.kinds import SECTIONS, Kind, Kinds, kinds


@cache
def _recipe_class(
    name: str, base: type[FamilyConfig], extra: tuple[tuple[str, tuple[tuple[str, Kind], ...]], ...]
) -> type[FamilyConfig]:
    fields: dict[str, Any] = {"family": (Literal[name], Field(name, description="Family."))}
    for section, added in extra:
        branches: Kinds = {**kinds(section), **dict(added)}
        union: Any = reduce(or_, (kind.config for kind in branches.values()))
        known = base.model_fields[section]
        fields[section] = (
            Annotated[union, Field(discriminator="kind")],
            Field(known.default, description=known.description),
        )
    created: type[FamilyConfig] = create_model(f"{base.__name__}Recipe", __base__=base, **fields)
    return created


def recipe_class(family: Family) -> type[FamilyConfig]:
    """The family's config class, with `optim`, `schedule` and `clip` as unions of all kinds."""
    extra = tuple((section, tuple(family.kinds.get(section, {}).items())) for section in SECTIONS)
    return _recipe_class(family.name, family.config, extra)


def kind_of(family: Family, section: str, tag: str) -> Kind:
    """The kind `tag` of `optim`, `schedule` or `clip`, built in, plugged in or the family's own."""
    return {**kinds(section), **family.kinds.get(section, {})}[tag]


def defaults_of(model: type[BaseModel]) -> dict[str, Any]:
    """Every default of `model` as a plain nested dictionary."""
    values: dict[str, Any] = {}
    for name, info in model.model_fields.items():
        if info.is_required():
            continue
        default = info.get_default(call_default_factory=True, validated_data={})
        values[name] = default.model_dump() if isinstance(default, BaseModel) else default
    return values


def plain_defaults(family: Family) -> dict[str, Any]:
    """The default config of the family as plain values."""
    return recipe_class(family).model_construct(family=family.name).plain()
