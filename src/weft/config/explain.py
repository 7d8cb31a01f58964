"""Turns pydantic's errors into readable ones: the key as written, where, what was expected."""

from __future__ import annotations

import types
from collections.abc import Callable, Iterable, Iterator, Mapping, Sequence
from difflib import get_close_matches
from typing import Annotated, Any, Literal, Union, get_args, get_origin

from annotated_types import Ge, Gt, Le, Lt
from pydantic import BaseModel
from pydantic.fields import FieldInfo
from pydantic_core import PydanticUndefined

from weft.config.cadence import ACCEPTED, COUNTS
from weft.config.kinds import SECTIONS, broken
from weft.config.layer import value_at
from weft.config.rule import BROKEN
from weft.config.runref import RunRef
from weft.config.yaml import KeyPath
from weft.errors import ConfigError, WeftError

Origin = Callable[..., str]
"""Key paths -> where their values were set."""
Problem = Mapping[str, Any]
"""An entry of `pydantic.ValidationError.errors()`."""

_MOST_SHOWN = 50
"""Mistakes that are listed; the rest are counted."""

_LONGEST_SHOWN = 200
"""Characters of a value that are shown."""


def explain(
    problems: Iterable[Problem], model: type[BaseModel], values: Mapping[str, Any], origin: Origin
) -> list[WeftError]:
    """One readable error for each mistake that pydantic found, in the same order.

    At most `_MOST_SHOWN` are explained; one more error counts the rest.

    Args:
        problems: what pydantic found.
        model: the config class.
        values: the values that were checked.
        origin: says where the values at key paths were set.
    """
    found = _of_options(problems, model, values)
    errors = [_explain_one(problem, model, values, origin) for problem in found[:_MOST_SHOWN]]
    if len(found) > _MOST_SHOWN:
        errors.append(ConfigError(f"and {len(found) - _MOST_SHOWN:,} more mistakes"))
    return errors


def suggest(word: str, known: Sequence[str], otherwise: str) -> str:
    """A did-you-mean line with up to three of `known` that resemble `word`, ignoring case; or
    `otherwise` if none does."""
    plain: dict[str, list[str]] = {}
    for each in known:
        plain.setdefault(each.lower(), []).append(each)
    found = get_close_matches(word.lower(), plain, n=3, cutoff=0.6)
    close = [each for name in found for each in plain[name]][:3]
    return f"did you mean {' or '.join(f'`{c}`' for c in close)}?" if close else otherwise


def expected(info: FieldInfo) -> str:
    """Type and range of a field, as in `int >= 1 or null` or `one of mlp, cnn`."""
    whole = Annotated[info.annotation, *info.metadata] if info.metadata else info.annotation
    return _type_words(whole)


def fields(model: type[BaseModel], prefix: KeyPath = ()) -> Iterator[tuple[KeyPath, FieldInfo]]:
    """Every option of `model` and its sections with its key path, in order, of all kinds."""
    for name, info in model.model_fields.items():
        path = (*prefix, name)
        branches = models_of(info.annotation)
        if not branches:
            yield path, info
        for branch in branches:
            yield from fields(branch, path)


def models_of(annotation: Any) -> list[type[BaseModel]]:
    """The section classes that an annotation allows; empty for plain values."""
    if get_origin(annotation) is Annotated:
        return models_of(get_args(annotation)[0])
    if get_origin(annotation) in (Union, types.UnionType):
        return [m for argument in get_args(annotation) for m in models_of(argument)]
    if isinstance(annotation, type) and issubclass(annotation, BaseModel):
        return [annotation]
    return []


def section_at(
    model: type[BaseModel], path: KeyPath, values: Mapping[str, Any]
) -> type[BaseModel] | None:
    """The class of the section at `path`, following the kinds that `values` choose; None if there
    is no section."""
    current: type[BaseModel] = model
    node: Any = values
    for key in path:
        node = node.get(key) if isinstance(node, Mapping) else None
        info = current.model_fields.get(key)
        branches = models_of(info.annotation) if info else []
        if not branches:
            return None
        tag = node.get("kind") if isinstance(node, Mapping) else None
        chosen = [b for b in branches if len(branches) == 1 or tag_of(b) == tag]
        current = chosen[0] if chosen else branches[0]
    return current


def _of_options(
    problems: Iterable[Problem], model: type[BaseModel], values: Mapping[str, Any]
) -> list[Problem]:
    """The problems, in order, where those of a list's items or of the members of a union are one
    problem of the option that holds the list."""
    found: dict[tuple[Any, ...], Problem] = {}
    for number, problem in enumerate(problems):
        path = key_path(problem, model, values)
        option = _option_at(path, model, values)
        if option is not None and option != path:
            said = problem if problem["type"] == "value_error" else {"type": "item"}
            problem = {**said, "loc": option, "input": value_at(values, option)}
        found.setdefault(option or (number,), problem)
    return [*found.values()]


def _option_at(path: KeyPath, model: type[BaseModel], values: Mapping[str, Any]) -> KeyPath | None:
    """The option that `path` leads to or, through an item of its list, into; None if none."""
    for end in range(1, len(path) + 1):
        section = section_at(model, path[: end - 1], values)
        info = section.model_fields.get(path[end - 1]) if section else None
        if info is not None and not models_of(info.annotation):
            return path[:end]
    return None


def _explain_one(
    problem: Problem, model: type[BaseModel], values: Mapping[str, Any], origin: Origin
) -> WeftError:
    if problem["type"] == BROKEN:
        rule = problem["ctx"]
        where = origin(*(tuple(key.split(".")) for key in rule["keys"]))
        return ConfigError(rule["says"], where=where, hint=rule["hint"])
    path = key_path(problem, model, values)
    dotted, where = ".".join(path), origin(path)
    section = section_at(model, path[:-1], values) if path else model
    if problem["type"] == "extra_forbidden" and section is not None:
        return _unknown_key(path, section, model, where)
    if problem["type"].startswith("union_tag"):
        absent = broken(dotted) if dotted in SECTIONS else {}
        if (tag := str(_tag_given(problem["input"]))) in absent:
            return absent[tag]
        tags = [tag_of(branch) for branch in _branches(model, path, values)]
        return ConfigError(
            f"`{dotted}.kind` = {_show(_tag_given(problem['input']))} is not a kind of {dotted}",
            where=origin((*path, "kind")),
            expected=f"{dotted}.kind: {_or(tags)}",
            hint=suggest(tag, tags, ""),
        )
    info = section.model_fields.get(path[-1]) if section and path else None
    if info is None or problem["type"] == "value_error":
        message = str(problem["msg"]).removeprefix("Value error, ")
        return ConfigError(f"`{dotted}`: {message}" if dotted else message, where=where)
    accepted = _accepted(dotted, info)
    if problem["type"] == "missing":
        return ConfigError(f"`{dotted}` is missing", where=where, expected=accepted)
    tags = [tag_of(branch) for branch in models_of(info.annotation)]
    named = len(tags) > 1 and problem["input"] in tags
    return ConfigError(
        f"`{dotted}` = {_show(problem['input'])} is not allowed",
        where=where,
        expected=accepted,
        hint=f"did you mean `{dotted}.kind={problem['input']}`?"
        if named
        else about(info, _default(model, path, section)),
    )


def _accepted(key: str, info: FieldInfo) -> str:
    """The values that `key` accepts; for a section its kinds, or its options."""
    branches = models_of(info.annotation)
    if len(branches) > 1:
        return f"{key}.kind: {_or([tag_of(branch) for branch in branches])}, with its options"
    if branches:
        return "options below it: " + ", ".join(
            f"{key}.{name}" for name in branches[0].model_fields
        )
    return expected(info)


def _or(words: Sequence[str]) -> str:
    """`a, b or c`."""
    return " or ".join(filter(None, (", ".join(words[:-1]), words[-1])))


def about(info: FieldInfo, default: Any = PydanticUndefined) -> str:
    """A field's default and description, as in `default 64: Hidden width.`

    Args:
        info: the field.
        default: the default to show; that of the field's class if undefined.
    """
    if default is PydanticUndefined:
        default = info.get_default(call_default_factory=True, validated_data={})
    known = default is not PydanticUndefined and not isinstance(default, BaseModel)
    return ": ".join([f"default {_show(default)}"] * known + [info.description or ""])


def _default(model: type[BaseModel], path: KeyPath, section: type[BaseModel] | None) -> Any:
    """The default of the option at `path` in `section`; undefined if the default section there is
    of another kind."""
    owner: Any = None
    node = model.model_fields[path[0]].get_default(call_default_factory=True, validated_data={})
    for key in path[1:]:
        owner, node = node, getattr(node, key, PydanticUndefined)
    return node if owner is None or isinstance(owner, section or ()) else PydanticUndefined


def _unknown_key(
    path: KeyPath, section: type[BaseModel], model: type[BaseModel], where: str
) -> WeftError:
    dotted, parent = ".".join(path), ".".join(path[:-1])
    everywhere = {".".join(known): info for known, info in fields(model)}
    siblings = {".".join((*path[:-1], name)): i for name, i in section.model_fields.items()}
    close = get_close_matches(dotted, siblings, n=1, cutoff=0.6)
    close = close or get_close_matches(dotted, everywhere, n=1, cutoff=0.75)
    # A key given at the wrong level (`lr=1e-3`) is found by its last part.
    same_leaf = [known for known in everywhere if known.split(".")[-1] == path[-1]]
    lines = []
    others = _branches(model, path[:-1], {}) if parent else []
    kinds = [tag_of(b) for b in others if len(others) > 1 and path[-1] in b.model_fields]
    if kinds:
        lines.append(f"`{path[-1]}` is an option of {parent}.kind: {_or(kinds)}")
        close = same_leaf = []
    for guess in close or same_leaf[:3]:
        info = siblings.get(guess) or everywhere[guess]
        lines.append(f"did you mean `{guess}`?  ({_accepted(guess, info)}, {about(info)})")
    shown = sorted(section.model_fields)
    lines.append(
        f"keys of `{parent}`: {', '.join(shown)}"
        if parent
        else "`weft config show` lists every key"
    )
    return ConfigError(f"unknown key `{dotted}`", where=where, hint="\n".join(lines))


def key_path(problem: Problem, model: type[BaseModel], values: Mapping[str, Any]) -> KeyPath:
    """The key of a problem as the user wrote it: pydantic's location without union tags."""
    path: KeyPath = ()
    for part in map(str, problem["loc"]):
        tags = [tag_of(branch) for branch in _branches(model, path, values)]
        if len(tags) > 1 and part in tags:
            continue
        path = (*path, part)
    return path


def _branches(
    model: type[BaseModel], path: KeyPath, values: Mapping[str, Any]
) -> list[type[BaseModel]]:
    if not path:
        return [model]
    section = section_at(model, path[:-1], values)
    info = section.model_fields.get(path[-1]) if section else None
    return models_of(info.annotation) if info else []


def tag_of(branch: type[BaseModel]) -> str:
    """The `kind` that chooses this branch of a union."""
    info = branch.model_fields.get("kind")
    return str(info.default) if info else ""


def _tag_given(value: Any) -> Any:
    return value.get("kind") if isinstance(value, Mapping) else value


def _type_words(annotation: Any) -> str:
    origin, arguments = get_origin(annotation), get_args(annotation)
    if origin is Annotated:
        return ACCEPTED if COUNTS in arguments[1:] else _within(arguments[0], arguments[1:])
    if origin is Literal:
        return f"one of {', '.join(str(a) for a in arguments)}"
    if origin in (Union, types.UnionType):
        return " or ".join(_type_words(a) for a in arguments)
    if origin in (tuple, list):
        items = [_type_words(a) for a in arguments if a is not Ellipsis]
        if len(set(items)) > 1:
            return f"[{', '.join(items)}]"
        length = f"{len(items)} " if origin is tuple and Ellipsis not in arguments else ""
        one = f"({items[0]})" if " or " in items[0] else items[0]
        return f"list of {length}{one}"
    if annotation is type(None):
        return "null"
    names = {
        str: "text",
        bool: "true or false",
        float: "number",
        RunRef: "a run (directory or family/name, @CHECKPOINT if not its best)",
    }
    return names.get(annotation, getattr(annotation, "__name__", str(annotation)))


def _within(annotation: Any, metadata: Iterable[Any]) -> str:
    """The words of a type and its range, as in `int >= 1 or null`."""
    signs = {Ge: ">=", Gt: ">", Le: "<=", Lt: "<"}
    given = [
        m for each in metadata for m in (each.metadata if isinstance(each, FieldInfo) else (each,))
    ]
    limits = [
        f"{sign} {getattr(meta, kind.__name__.lower())}"
        for meta in given
        for kind, sign in signs.items()
        if isinstance(meta, kind)
    ]
    words = _type_words(annotation)
    null = " or null" * words.endswith(" or null")
    return f"{words.removesuffix(null)} {' and '.join(limits)}".rstrip() + null


def _show(value: Any) -> str:
    if isinstance(value, bool):
        return str(value).lower()
    if isinstance(value, list | tuple):
        return _short(f"[{', '.join(map(_show, value))}]")
    return "null" if value is None else _short(str(value)) or "''"


def _short(text: str) -> str:
    """The text, cut to `_LONGEST_SHOWN` characters."""
    return text if len(text) <= _LONGEST_SHOWN else f"{text[:_LONGEST_SHOWN]}…"
