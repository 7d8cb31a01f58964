"""The entries of a family's reproduce.yaml: what is worth training, budget by budget."""

from __future__ import annotations

import hashlib
import shlex
from collections.abc import Sequence
from dataclasses import dataclass
from typing import TYPE_CHECKING, Literal, get_args

from weft import families
from weft.config.layer import dotted
from weft.config.load import load
from weft.config.yaml import read_file
from weft.errors import ConfigError
from weft.reports.settings import same_setting

if TYPE_CHECKING:
    from weft.config.family import Family

FILE = "reproduce.yaml"
"""File in which a family lists, for each budget, what is worth training, most valuable first."""

Budget = Literal["smoke", "cpu", "gpu", "paper"]


@dataclass(frozen=True)
class Entry:
    """A setting that a table needs.

    Attributes:
        about: what it shows.
        words: recipe and overrides.
        seeds: number of seeds, from 0.
        minutes: time of one run on the budget's machine.
    """

    about: str
    words: tuple[str, ...]
    seeds: int = 1
    minutes: float = 1.0


def entries(family: Family, budget: Budget) -> list[Entry]:
    """The family's entries for a budget; an empty list if it has none.

    Raises:
        ConfigError: if its file is malformed.
    """
    path = family.home / FILE
    if not path.is_file():
        return []
    content, _ = read_file(path)
    found = content.get(budget) or []
    try:
        if unknown := [key for key in content if key not in get_args(Budget)]:
            raise ValueError(f"`{unknown[0]}` is no budget")
        return [Entry(**{**entry, "words": tuple(shlex.split(entry["words"]))}) for entry in found]
    except (TypeError, KeyError, AttributeError, ValueError) as error:
        raise ConfigError(
            f"the list of runs is malformed: {error}",
            where=str(path),
            expected=f"budgets {', '.join(get_args(Budget))}, each a list of about, words, seeds "
            "and minutes",
        ) from error


def known_as(words: Sequence[str]) -> str:
    """A key of twelve characters that identifies a setting by all values its words set.

    Defaults are left out, so that the key stays valid when weft gains further options.
    """
    resolved = load(words, families, {})
    values = dotted(resolved.config.plain())
    asked = {key: each for key, each in values.items() if resolved.origin(tuple(key.split(".")))}
    return hashlib.blake2b(same_setting(asked).encode(), digest_size=6).hexdigest()
