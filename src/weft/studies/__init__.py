"""The registry of studies: name, as `weft study NAME` takes it -> the study's `main` function."""

from __future__ import annotations

import ast
from collections import Counter
from collections.abc import Callable, Sequence
from importlib.util import find_spec
from pathlib import Path

from weft import families
from weft.config.explain import suggest
from weft.config.family import resolve
from weft.errors import UsageError, WeftError

GENERAL = {
    "controls": "weft.studies.controls:main",
    "costs": "weft.studies.costs:main",
    "growth": "weft.studies.growth:main",
}
"""Studies that work for any family which declares what they need."""

Main = Callable[[Sequence[str]], int]


def paths() -> dict[str, str]:
    """Name -> "module:main" of the general studies and of every family's, in alphabetical order.

    A name that two families use becomes `FAMILY/NAME`. A family that does not load is skipped.
    """
    declared: list[tuple[str, str, str]] = []
    for family in families.names():
        try:
            declared += [(family, *study) for study in families.find(family).studies.items()]
        except WeftError:
            # `weft recipes` and `weft doctor` show what is wrong with it.
            continue
    uses = Counter(name for _, name, _ in declared) + Counter(GENERAL.keys())
    own = {name if uses[name] == 1 else f"{family}/{name}": path for family, name, path in declared}
    return dict(sorted({**own, **GENERAL}.items()))


def find(name: str) -> Main:
    """The function that runs a study: takes its words, prints the result, returns the exit code.

    Raises:
        UsageError: if there is no study of that name.
    """
    known = paths()
    if name not in known:
        raise UsageError(
            f"there is no study `{name}`",
            expected=f"one of {', '.join(known)}",
            hint=suggest(name, list(known), "`weft study` says what each one asks"),
        )
    main: Main = resolve(known[name])
    return main


def about(path: str) -> str:
    """The first line of the docstring of the module in "module:main", which is not imported."""
    module = path.partition(":")[0]
    try:
        spec = find_spec(module)
    except ModuleNotFoundError:
        spec = None
    if spec is None or spec.origin is None:
        return f"there is no module `{module}`"
    text = ast.get_docstring(ast.parse(Path(spec.origin).read_text(encoding="utf-8")))
    return (text or "").partition("\n")[0]
