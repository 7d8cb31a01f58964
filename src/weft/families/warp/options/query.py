"""Options of where the root is read, and what else goes with reading it once, at the end."""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from typing import Any, Literal

from pydantic import Field

from weft.config.rule import Rule
from weft.families.warp.options.transitions import TransitionOptions


class ReadingOptions(TransitionOptions):
    """The part of a config that says when, and by which coordinates, the root is asked."""

    read: Literal["steps", "query"] = Field(
        "steps",
        description="Whether the root is read at each step, with the weights of that step, or all "
        "places are asked of the weights after the first grounding_length steps.",
    )
    coordinate_waves: int = Field(
        0,
        ge=0,
        description="Sines and cosines of each pixel coordinate that the root sees, of the "
        "frequencies pi / 2, 2 pi / 2, ... on [-1, 1].",
    )
    relative_period: int | None = Field(
        None,
        ge=1,
        description="Steps after which sequences recur: what a query reads and tells is relative "
        "to the mean of the context at the same phase; 1 is the mean of the context.",
    )
    patch: int | None = Field(
        None,
        ge=1,
        description="Steps that a query reads at once, as channels of one step of the recurrence.",
    )
    input_noise: float = Field(
        0.0, ge=0, description="Deviation of noise added to the input, not the target, in training."
    )


_APART = {
    "input_prev_data": (False, "there are no data at the places that are asked for"),
    "output_smoothing": (False, "a filter over time needs all steps"),
    "traj_train_prop": (1.0, "places are asked for, not kept"),
    "target": ("same", "a place is asked for its own datum"),
    "supervision_task": ("reconstruction", "a sequence is asked for, not a label"),
    "autoregressive_inference": (True, "it is an inference of its own"),
}
"""Options that mean nothing where the root is read by query: what they are then, and why."""


def rules_of_reading(options: Mapping[str, Any]) -> Iterator[Rule]:
    """What must not be together with a root read by query, and what needs it.

    Args:
        options: of a whole config.
    """
    query = options["read"] == "query"
    for key, (usual, reason) in _APART.items():
        yield Rule(
            ("read", key),
            query and options[key] != usual,
            f"`read` query knows no `{key}`: {reason}",
            f"leave out `{key}`, or set `read` to steps",
        )
    yield Rule(
        ("coordinate_waves", "include_canonical_coords"),
        options["coordinate_waves"] > 0 and not options["include_canonical_coords"],
        "`coordinate_waves` are waves of coordinates that the root does not see",
        "set `include_canonical_coords`",
    )
    yield from _rules_of_maps(options, query)
    yield from _rules_of_periods(options, query)


def _rules_of_maps(options: Mapping[str, Any], query: bool) -> Iterator[Rule]:
    """Of what maps all given steps at once, and of steps that are read together."""
    direct = options["model_type"] in ("mlp", "dlinear")
    yield Rule(
        ("model_type", "read"),
        direct and not query,
        f"`model_type` {options['model_type']} maps what is given to what is not, and has no steps",
        "set `read` to query",
    )
    yield Rule(
        ("model_type", "conv_embedding"),
        direct and options["conv_embedding"] is not None,
        f"`model_type` {options['model_type']} has no `conv_embedding`",
        "leave it out",
    )
    yield Rule(
        ("patch", "read", "model_type"),
        options["patch"] is not None and (direct or not query),
        "`patch` joins steps that a recurrence reads before it is asked",
        "leave it out, or set `read` to query and `model_type` to a recurrence",
    )


def _rules_of_periods(options: Mapping[str, Any], query: bool) -> Iterator[Rule]:
    yield Rule(
        ("relative_period", "read"),
        options["relative_period"] is not None and not query,
        "`relative_period` is taken of the whole context, which only a query waits for",
        "set `read` to query",
    )
    yield Rule(
        ("relative_period", "grounding_length"),
        (options["relative_period"] or 0) > options["grounding_length"],
        "`relative_period` is longer than the context, `grounding_length`",
        "set `relative_period` to at most that",
    )
