"""Imports a family's task class, checks it, and builds the task."""

from __future__ import annotations

import inspect
from collections.abc import Iterator, Sequence
from typing import Any, get_args, get_type_hints

from weft.config.base import FamilyConfig
from weft.config.border import declared_at
from weft.config.family import Family, resolve
from weft.config.place import place
from weft.errors import PluginError
from weft.task.metric import Metric
from weft.task.task import Task

_HOOKS = {name: hook for name, hook in vars(Task).items() if inspect.isfunction(hook)}


def load_task(family: Family, config: FamilyConfig) -> Task[Any, Any, Any]:
    """Imports the family's task class (and so torch) and builds the task for `config`.

    If `Family.task` names a function, it returns the class for the config.

    Raises:
        PluginError: if the class is missing, or its hooks or metrics are not as weft needs them.
    """
    named = resolve(family.task, f"the task of family `{family.name}`", declared_at(family))
    if inspect.isfunction(named):
        named = named(config)
    if not (isinstance(named, type) and issubclass(named, Task)):
        raise PluginError(
            f"`{family.task}`, the task of family `{family.name}`, is {named!r}",
            where=place(named) or declared_at(family),
            expected="a subclass of weft.task.Task",
        )
    if lacks := ", ".join(f"`{hook}`" for hook in sorted(named.__abstractmethods__)):
        raise PluginError(
            f"{named.__name__} lacks {lacks}", where=place(named), expected="all that Task asks for"
        )
    _check_call(named, "__init__", named, ["config"])
    task: Task[Any, Any, Any] = named(config)
    for hook, pattern in _HOOKS.items():
        words = list(inspect.signature(pattern).parameters)[1:]
        _check_call(origin(task, hook), hook, getattr(task, hook), words)
    for says, expected in _of_metrics(task.metrics):
        whose, where = f"`metrics` of {named.__name__}", place(origin(task, "metrics"))
        raise PluginError(f"{whose} {says}", where=where, expected=expected)
    return task


def origin(task: Task[Any, Any, Any], hook: str) -> Any:
    """The code to blame for `hook`: the author's hook, or the class if it does not define it."""
    written = inspect.getattr_static(type(task), hook)
    known = inspect.isfunction(written) or isinstance(written, property)
    return written if known and written is not vars(Task)[hook] else type(task)


def _check_call(written: object, name: str, called: Any, words: Sequence[str]) -> None:
    """Checks that a hook can be called with the arguments `words`."""
    try:
        inspect.signature(called).bind(*words)
    except TypeError as error:
        raise PluginError(
            f"`{name}` cannot be called as it is: {error}",
            where=place(written),
            expected=f"`def {name}({', '.join(['self', *words])})`",
        ) from error


def _of_metrics(found: object) -> Iterator[tuple[str, str]]:
    """Mistakes in declared metrics: what is wrong, and what was expected."""
    wanted = 'a property that gives a tuple such as `(Metric("loss", "lower"),)`'
    if not (isinstance(found, tuple) and all(isinstance(each, Metric) for each in found)):
        yield f"is {found!r}", wanted
    elif not found:
        yield "is empty", f"{wanted}; the first one selects the best weights"
    else:
        names = [each.name for each in found]
        if twice := sorted({name for name in names if names.count(name) > 1}):
            yield f"declares {', '.join(twice)} twice", "each name once"
        if "*" in names[0]:
            yield f"begins with `{names[0]}`", "one metric's name, to select the best weights by"
        ways = get_args(get_type_hints(Metric)["better"])
        for each in found:
            if each.better not in ways:
                yield f"says that {each.better!r} is better of `{each.name}`", " or ".join(ways)
