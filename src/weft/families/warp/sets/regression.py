"""In-context linear regression: pairs (x, y), then a query x whose y is to be inferred."""

# N sequences, T pairs (the last is the query), n inputs

from __future__ import annotations

from typing import Literal

import torch

from weft.data.source import Batch
from weft.families.warp.config import Config
from weft.families.warp.sets.generated import sizes_of, stream_of
from weft.families.warp.sets.source import Header, Parts

_SIZES = {"train": 10_000, "test": 1_000}
_STEPS, _INPUTS = 17, 4


def pairs(
    size: int,
    steps: int,
    inputs: int,
    generator: torch.Generator,
    *,
    cumsum: Literal["time", "features"] = "time",
) -> Batch:
    """Sequences of pairs with y_k = w . x_k, with a different w for each sequence.

    w and all x_k are U(-1, 1)^n. Columns are cumulative sums over time, so that the differences
    that drive the recurrence are the pairs themselves; the y of the query is 0 in the input.

    Args:
        size, steps, inputs: N, T, n.
        cumsum: `features` cumulates x over its n entries and only y over time, and sets the query's
            y to 0 after that, as the original.
    Returns: "x" (N, T, n + 1), x before y, and "target" (N, T, 1), the cumulated y.
    """
    w = torch.rand(size, inputs, 1, generator=generator, dtype=torch.float64) * 2 - 1
    x = torch.rand(size, steps, inputs, generator=generator, dtype=torch.float64) * 2 - 1
    y = x @ w
    if cumsum == "time":
        known = torch.cat((y[:, :-1], torch.zeros_like(y[:, -1:])), 1).cumsum(1)
    else:
        known = torch.cat((y.cumsum(1)[:, :-1], torch.zeros_like(y[:, -1:])), 1)
    columns = torch.cat((x.cumsum(1 if cumsum == "time" else 2), known), 2)
    return {"x": columns.float(), "target": y.cumsum(1).float()}


def header(config: Config) -> Header:
    """16 pairs of four inputs and a query by default; every pair but the query is context."""
    data = config.data
    steps = data.sequence_length or _STEPS
    sizes = sizes_of(config, _SIZES)
    return Header(steps, (data.data_dim or _INPUTS) + 1, sizes, outputs=1, context=steps - 1)


def load(config: Config) -> Parts:
    """The generated sequences, a function of (data.seed, split), their number and shape."""
    about = header(config)
    made = {
        split: pairs(
            size,
            about.steps,
            about.channels - 1,
            stream_of(config, "icl", split),
            cumsum=config.data.cumsum,
        )
        for split, size in about.sizes.items()
    }
    return Parts(made["train"], made["test"])
