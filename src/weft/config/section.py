"""`Section`: a group of options; frozen, typed, and refusing unknown keys."""

from __future__ import annotations

from pydantic import BaseModel, ConfigDict


class Section(BaseModel):
    """A group of options; every field has a default, a range and a one-sentence description."""

    model_config = ConfigDict(
        frozen=True, extra="forbid", validate_default=True, strict=False, allow_inf_nan=False
    )


class KindConfig(Section):
    """A section that is one of several kinds; subclasses narrow `kind` to a Literal."""

    kind: str
