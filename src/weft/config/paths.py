"""Options that hold a path, or a name that may be one: all of a config are found, and replaced."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass
from typing import Any, TypeVar

from pydantic import BaseModel, GetCoreSchemaHandler
from pydantic_core import CoreSchema, core_schema

C = TypeVar("C", bound=BaseModel)


class PathText(str):
    """The text of an option that is the path of a file or folder of the user's own."""


def always(text: str) -> bool:
    """Whatever the text is, it is a path."""
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
    """The section with `change` made to every path in it and in its sections."""

    def changed(value: Any) -> Any:
        if isinstance(value, PathText):
            return PathText(change(value))
        if isinstance(value, tuple):
            return tuple(changed(one) for one in value)
        return map_paths(value, change) if isinstance(value, BaseModel) else value

    values = {name: getattr(section, name) for name in type(section).model_fields}
    return section.model_copy(update={name: changed(value) for name, value in values.items()})
