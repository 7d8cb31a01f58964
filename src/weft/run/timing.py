"""A family's benchmark, or that of the loop, or single cases of one."""

from __future__ import annotations

from collections.abc import Callable
from fnmatch import fnmatchcase
from typing import Any

from weft import families
from weft.config.explain import suggest
from weft.config.family import resolve
from weft.engine.bench import machine, measure
from weft.errors import UsageError
from weft.task.bench import Case


def timed(
    what: str, full: bool, pattern: str | None, show: Callable[[str], None]
) -> dict[str, Any]:
    """What `measure` gives, and the machine it was measured on.

    Args:
        what: a family, or `loop`.
        full: whether to take slow cases, too.
        pattern: names the cases to take, slow or not, if it is given.
        show: told which form is measured now.

    Raises:
        UsageError: if the family has no benchmark, or no case called so.
    """
    path = "weft.studies.overhead:cases" if what == "loop" else families.find(what).bench
    if not path:
        raise UsageError(f"family `{what}` has no benchmark")
    every: list[Case] = list(resolve(path, f"benchmark of `{what}`")(full or pattern is not None))
    if pattern is None:
        taken = [case for case in every if full or not case.full]
    else:
        taken = _called(pattern, every)
    return {"machine": machine(), **measure(taken, show)}


def _called(pattern: str, cases: list[Case]) -> list[Case]:
    if found := [case for case in cases if fnmatchcase(case.name, pattern)]:
        return found
    names = [case.name for case in cases]
    raise UsageError(
        f"no case is called `{pattern}`",
        where="--case",
        expected=", ".join(names),
        hint=suggest(pattern, names, "a pattern such as `text-*` takes several"),
    )
