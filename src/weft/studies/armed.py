"""Which families list arms that `weft study controls` can compare."""

from __future__ import annotations

from collections.abc import Sequence

from weft.config.family import Comparison
from weft.errors import UsageError, WeftError


def listed() -> dict[str, Comparison]:
    """What the families list, of those that list arms, by name."""
    from weft import families

    found = {}
    for name in families.names():
        try:
            comparison = families.find(name).compared
        except WeftError:
            # `weft recipes` and `weft doctor` show it; the others' arms are no worse for it.
            continue
        if comparison is not None:
            found[name] = comparison
    return found


def find(words: Sequence[str]) -> Comparison:
    """What the family of a recipe lists.

    Args:
        words: the recipe, or a family, and `key=value`.
    Raises:
        UsageError: if it lists none.
    """
    from weft import api, families

    named = words[0].partition("/")[0]
    known = named in families.names()
    name = named if known else api.configure(*words, base="a base").config.family
    comparison = families.find(name).compared
    if comparison is None:
        raise UsageError(
            f"family {name} lists no arms to compare",
            where=words[0],
            expected=f"one of {', '.join(listed()) or 'none that is installed'}",
        )
    return comparison
