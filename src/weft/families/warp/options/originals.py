"""Options by which a run computes what the original does where ours differs, and at what digits."""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from typing import Any, Literal

from pydantic import Field

from weft.config.base import FamilyConfig
from weft.config.rule import Rule

FEEDING = ("supervision_task", "autoregressive", "read")
"""Keys that decide whether training runs on the model's own predictions."""


class OriginalOptions(FamilyConfig):
    """The part of a config that says how closely the original is followed."""

    weights_lim_gradient: Literal["whole", "half"] = Field(
        "whole",
        description="Share of the gradient that passes where a weight meets weights_lim exactly; "
        "half in the original.",
    )
    weights_lim_products: Literal["float32", "bfloat16"] = Field(
        "float32",
        description="Precision of products with a full A where weights are clipped and predictions "
        "fed back; the weights stay in float32.",
    )
    encoding_ahead: Literal["position", "vector"] = Field(
        "position",
        description="Whether a run that feeds back encodes the next position, or extrapolates the "
        "encoded vector (the original).",
    )
    convolutions: Literal["own", "original"] = Field(
        "own",
        description="original: zeros beyond the edges, and a 3-tap filter that is centred, starts "
        "at random and runs over the final outputs.",
    )


def feeds_back(options: Mapping[str, Any]) -> bool:
    """Whether training runs on the model's own predictions (M2 and M3), which `FEEDING` decide."""
    reconstructs = options["supervision_task"] != "classification"
    return reconstructs and options["autoregressive"] and options["read"] == "steps"


def rules_of_originals(options: Mapping[str, Any]) -> Iterator[Rule]:
    """Which of these options would have no effect.

    Args:
        options: of a whole config.
    """
    limit, full = options["weights_lim"], options["transition"] == "full"
    fed_back = feeds_back(options)
    yield Rule(
        ("weights_lim_gradient", "weights_lim"),
        options["weights_lim_gradient"] == "half" and limit is None,
        "`weights_lim_gradient` half is about a bound, and there is none",
        "set `weights_lim`",
    )
    yield Rule(
        ("weights_lim_products", "weights_lim", "transition", "rnn_inner_dims", *FEEDING),
        options["weights_lim_products"] == "bfloat16"
        and (limit is None or not full or not fed_back or bool(options["rnn_inner_dims"])),
        "`weights_lim_products` bfloat16 is for one layer with a full A whose weights are clipped, "
        "where predictions are fed back",
        "set `weights_lim`, `transition` full and `autoregressive` true, or leave it out",
    )
    yield Rule(
        ("encoding_ahead", "positional_encoding", *FEEDING),
        options["encoding_ahead"] == "vector"
        and (options["positional_encoding"] is None or not fed_back),
        "`encoding_ahead` vector is about the positional encoding of a run that feeds back",
        "set `positional_encoding` and `autoregressive` true, or leave it out",
    )
    yield Rule(
        ("convolutions", "conv_embedding", "output_smoothing"),
        options["convolutions"] == "original"
        and options["conv_embedding"] is None
        and not options["output_smoothing"],
        "`convolutions` original is about convolutions over time, and there are none",
        "set `conv_embedding` or `output_smoothing`",
    )
