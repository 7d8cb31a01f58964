"""A rule between options: the keys it concerns, whether it is broken, and what to say then."""

from __future__ import annotations

from collections.abc import Iterable
from dataclasses import asdict, dataclass

from pydantic import ValidationError
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
