"""The config class of a recipe: a family's own, its unions closed over all known kinds."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from functools import cache, reduce
from operator import or_
from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Any, Literal, Protocol

from pydantic import BaseModel, Field, create_model

from weft.config.base import FamilyConfig
from weft.config.kinds import Kind, Kinds, kinds

if TYPE_CHECKING:
    from weft.config.presets import Preset

_UNIONS = ("optim", "schedule", "clip")


class Owner(Protocol):
    """What the loader needs to know of a family."""

    @property
    def name(self) -> str:
        """The word users type."""
        ...

    @property
    def config(self) -> type[FamilyConfig]:
        """Its config class."""
        ...

    @property
    def default(self) -> str:
        """Its preset when none is named."""
        ...

    @property
    def home(self) -> Path:
        """Its folder."""
        ...

    @property
    def generated(self) -> Mapping[str, Preset]:
        """Presets that are rows of a table."""
        ...

    @property
    def aliases(self) -> Mapping[str, tuple[str, Callable[[Any], Any]]]:
        """Old key -> new key and converter."""
        ...

    @property
    def optimisers(self) -> Mapping[str, Kind]:
        """Kinds of `optim` it adds."""
        ...

    @property
    def schedules(self) -> Mapping[str, Kind]:
        """Kinds of `schedule` it adds."""
        ...

    @property
    def clips(self) -> Mapping[str, Kind]:
        """Kinds of `clip` it adds."""
        ...


class Registry(Protocol):
    """Where families are found by name."""

    def names(self) -> list[str]:
        """All families."""
        ...

    def find(self, name: str) -> Owner:
        """One of them."""
        ...


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


def recipe_class(family: Owner) -> type[FamilyConfig]:
    """The family's config class with its unions of optimisers, schedules and clips closed."""
    added = (family.optimisers, family.schedules, family.clips)
    extra = tuple(
        (section, tuple(mapping.items())) for section, mapping in zip(_UNIONS, added, strict=True)
    )
    return _recipe_class(family.name, family.config, extra)


def kind_of(family: Owner, section: str, tag: str) -> Kind:
    """The chosen branch of `optim`, `schedule` or `clip`."""
    added = dict(zip(_UNIONS, (family.optimisers, family.schedules, family.clips), strict=True))
    return {**kinds(section), **added[section]}[tag]


def defaults_of(model: type[BaseModel]) -> dict[str, Any]:
    """Every default of `model` as a plain nested dictionary."""
    values: dict[str, Any] = {}
    for name, info in model.model_fields.items():
        if info.is_required():
            continue
        default = info.get_default(call_default_factory=True, validated_data={})
        values[name] = default.model_dump() if isinstance(default, BaseModel) else default
    return values


def plain_defaults(family: Owner) -> dict[str, Any]:
    """What a config of the family holds where nobody set anything, as plain values."""
    recipe = recipe_class(family)
    config = recipe.model_construct(
        **{
            name: info.get_default(call_default_factory=True, validated_data={})
            for name, info in recipe.model_fields.items()
        }
    )
    return config.plain()
