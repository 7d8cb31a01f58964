"""The member of a collection that `data.subset` names."""

from __future__ import annotations

from collections.abc import Iterable

from weft.errors import ConfigError
from weft.families.warp.config import Config


def member(config: Config, known: Iterable[str]) -> str | None:
    """`data.subset`, which may be null.

    Args:
        config: of the run.
        known: names of all members.
    Raises:
        ConfigError: if there is no such member.
    """
    name, known = config.data.subset, list(known)
    if name is None:
        return None
    if name not in known:
        raise ConfigError(
            f"`{config.data.dataset}` has no subset `{name}`",
            where="data.subset",
            expected=f"one of {', '.join(known)}, or null" if known else "null",
        )
    return name
