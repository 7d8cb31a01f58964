"""Types of options that hold a path, a name that may be a path, or the name of a folder."""

from __future__ import annotations

import re
from collections.abc import Callable
from dataclasses import dataclass
from typing import Annotated, Any, TypeVar

from pydantic import AfterValidator, BaseModel, GetCoreSchemaHandler
from pydantic_core import CoreSchema, core_schema

C = TypeVar("C", bound=BaseModel)


class PathText(str):
    """The text of an option that is the path of a user's file or folder."""


def always(text: str) -> bool:
    """True: every text is a path."""
    return True


def is_npz(text: str) -> bool:
    """Whether the text is a path rather than the name of a data set."""
    return text.endswith(".npz")


@dataclass(frozen=True)
class MayBePath:
    """Marks an option as the path of a file or folder: `Annotated[str, MayBePath()]`.

    Args:
        is_path: whether a value is a path; by default every one is.
    """

    is_path: Callable[[str], bool] = always

    def __get_pydantic_core_schema__(
        self, source: Any, handler: GetCoreSchemaHandler
    ) -> CoreSchema:
        return core_schema.no_info_after_validator_function(
            lambda text: PathText(text) if self.is_path(text) else text,
            handler(source),
            serialization=core_schema.plain_serializer_function_ser_schema(str),
        )


def map_paths(section: C, change: Callable[[str], str]) -> C:
    """The section with `change` applied to every path in it and in the sections below it."""

    def changed(value: Any) -> Any:
        if isinstance(value, PathText):
            return PathText(change(value))
        if isinstance(value, tuple):
            return tuple(changed(one) for one in value)
        return map_paths(value, change) if isinstance(value, BaseModel) else value

    values = {name: getattr(section, name) for name in type(section).model_fields}
    return section.model_copy(update={name: changed(value) for name, value in values.items()})


_CONTROL = re.compile(r"[\x00-\x1f\x7f-\x9f\u2028\u2029]")
_LONGEST = 200


def _path(text: str) -> str:
    if _CONTROL.search(text):
        raise ValueError(f"{text!a} holds a control character, which no path needs")
    if not text.strip():
        raise ValueError("an empty text is no path")
    return text


def _name(text: str) -> str:
    if _path(text) in (".", "..") or "/" in text or "\\" in text or text != text.strip():
        raise ValueError(f"{text!a} is no name: a name has no separators, and is not `..`")
    if len(text.encode(errors="replace")) > _LONGEST:
        raise ValueError(f"a name of {len(text)} characters is too long; {_LONGEST} bytes will do")
    return text


CleanPath = Annotated[str, AfterValidator(_path)]
"""A path without control characters."""

FolderName = Annotated[str, AfterValidator(_name)]
"""The name of one folder: no separators, no `..`, no control characters."""


def as_name(text: str) -> str:
    """`text` as the name of a folder: characters that a name cannot have become `-`."""
    kept = re.sub(r"[/\\]", "-", _CONTROL.sub("-", text)).strip()[:_LONGEST]
    return "run" if kept in ("", ".", "..") else kept
