"""A config field that names an earlier run, whose weights the new one starts from."""

from __future__ import annotations

import os
from collections.abc import Iterator
from typing import Any

from pydantic import BaseModel, GetCoreSchemaHandler, GetJsonSchemaHandler
from pydantic_core import CoreSchema, core_schema


class RunRef(str):
    """An earlier run of the same family, as text (or a path, from Python).

    `RUN` takes the run's best checkpoint if it had a validation split, else its last one;
    `RUN@best`, `RUN@last` and `RUN@390` say which. RUN is a run's directory, or its `family/name`
    below `run.root`. A checkpoint file or an exported `model.safetensors` may be named, too.

    A field of this type is written `base: RunRef | None = Field(None, description=...)`.
    """

    @classmethod
    def __get_pydantic_core_schema__(
        cls, source: type[Any], handler: GetCoreSchemaHandler
    ) -> CoreSchema:
        text = core_schema.no_info_before_validator_function(
            _from_path, core_schema.str_schema(min_length=1)
        )
        return core_schema.no_info_after_validator_function(
            cls, text, serialization=core_schema.plain_serializer_function_ser_schema(str)
        )

    @classmethod
    def __get_pydantic_json_schema__(
        cls, schema: CoreSchema, handler: GetJsonSchemaHandler
    ) -> dict[str, Any]:
        return {"type": "string", "minLength": 1, "examples": ["family/name", "runs/a/b@last"]}


def run_refs(section: BaseModel, prefix: str = "") -> Iterator[tuple[str, RunRef]]:
    """The dotted key and value of every option that names an earlier run."""
    for name in type(section).model_fields:
        value = getattr(section, name)
        if isinstance(value, RunRef):
            yield prefix + name, value
        elif isinstance(value, BaseModel):
            yield from run_refs(value, f"{prefix}{name}.")


def _from_path(value: Any) -> Any:
    return os.fspath(value) if isinstance(value, os.PathLike) else value
