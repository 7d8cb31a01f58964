"""Rules between options: which ones exclude each other, and which one needs another to act."""

from __future__ import annotations

from collections.abc import Iterable, Mapping
from dataclasses import asdict, dataclass
from typing import Any

from pydantic import BaseModel, ValidationError
from pydantic_core import InitErrorDetails, PydanticCustomError

BROKEN = "broken_rule"
"""Type of pydantic's error for a broken rule; its `ctx` holds the rule's fields."""


@dataclass(frozen=True)
class Rule:
    """A combination of options that is not allowed.

    Args:
        keys: dotted keys of all options, or sections, that the outcome depends on. The rule is not
            applied while one of them is invalid; the message names where they were set.
        broken: whether the config breaks the rule.
        says: what is wrong, a sentence without a full stop.
        hint: what to do about it.
    """

    keys: tuple[str, ...]
    broken: bool
    says: str
    hint: str


def hold(rules: Iterable[Rule], title: str) -> None:
    """Checks the rules of a config.

    Args:
        rules: the rules.
        title: name of the config's class.

    Raises:
        ValidationError: with one error of type `BROKEN` for each broken rule.
    """
    broken = [asdict(rule) for rule in rules if rule.broken]
    if broken:
        kinds = [PydanticCustomError(BROKEN, "{says}: {hint}", fields) for fields in broken]
        lines = [InitErrorDetails(type=kind, loc=(), input=None) for kind in kinds]
        raise ValidationError.from_exception_data(title, lines)


@dataclass(frozen=True)
class Need:
    """What other options must be so that an option has an effect.

    Attributes:
        keys: dotted, of the other options, one of which is enough.
        values: those of their values with which it has one, as text; if empty, any but null,
            false, 0 and empty lists.
        others: whether it is all values but these with which it has one.
    """

    keys: tuple[str, ...]
    values: tuple[str, ...] = ()
    others: bool = False

    def is_met(self, config: BaseModel | Mapping[str, Any]) -> bool:
        """Whether `config`, or its values, has one of the options at such a value."""
        return any(self._suits(_at(config, key)) for key in self.keys)

    def _suits(self, value: object) -> bool:
        return (shown(value) in self.values) != self.others if self.values else bool(value)

    def __str__(self) -> str:
        named = " or ".join(f"`{key}`" for key in self.keys)
        if not self.values:
            return f"{named} is set"
        return f"{named} is {'not ' * self.others}{' or '.join(self.values)}"


def _at(config: BaseModel | Mapping[str, Any], key: str) -> Any:
    value: Any = config
    for name in key.split("."):
        value = value.get(name) if isinstance(value, Mapping) else getattr(value, name)
    return value


def needs_of(words: str) -> tuple[Need, ...]:
    """The needs that `words` state, all of which must be met, with blanks between them:
    `arch=cnn`, `stage=static|feedback`, `projector!=id`, or `noise|static_noise` where one of
    these is set."""
    found = []
    for word in words.split():
        keys, _, values = word.partition("=")
        given = tuple(values.split("|")) if values else ()
        found.append(Need(tuple(keys.rstrip("!").split("|")), given, keys.endswith("!")))
    return tuple(found)


def needs_at(needs: Mapping[str, str], key: str) -> tuple[Need, ...]:
    """The needs of an option: of the sections above it, then its own.

    Args:
        needs: dotted key of an option or section -> what it needs, in the words of `needs_of`.
        key: dotted, of the option.
    """
    parts = key.split(".")
    above = (".".join(parts[:end]) for end in range(1, len(parts) + 1))
    return tuple(need for each in above for need in needs_of(needs.get(each, "")))


def shown(value: object) -> str:
    """A value as a condition spells it."""
    return str(value).lower() if isinstance(value, bool) else str(value)
