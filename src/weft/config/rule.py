"""A rule between options: what it is about, whether a config breaks it, what to say then."""

from __future__ import annotations

from collections.abc import Iterable
from dataclasses import asdict, dataclass

from pydantic import ValidationError
from pydantic_core import InitErrorDetails, PydanticCustomError

BROKEN = "broken_rule"
"""Type of a broken rule among the errors of pydantic; its `ctx` holds the rule's fields."""


@dataclass(frozen=True)
class Rule:
    """What options of a config must not be together.

    Args:
        keys: dotted keys of all options that the outcome depends on, or of their section. The rule
            is left alone while one of them is invalid; who set them is named when it is broken.
        broken: whether the config breaks it.
        says: what is wrong, a sentence without its full stop.
        hint: what to do about it.
    """

    keys: tuple[str, ...]
    broken: bool
    says: str
    hint: str


def hold(rules: Iterable[Rule], title: str) -> None:
    """Sees to it that no rule is broken.

    Args:
        rules: the rules of a config.
        title: name of its class.

    Raises:
        ValidationError: with one error of type `BROKEN` for each rule that is.
    """
    broken = [asdict(rule) for rule in rules if rule.broken]
    if broken:
        kinds = [PydanticCustomError(BROKEN, "{says}: {hint}", fields) for fields in broken]
        lines = [InitErrorDetails(type=kind, loc=(), input=None) for kind in kinds]
        raise ValidationError.from_exception_data(title, lines)
