"""Applies deltas to the linear layers of any model inside a `with` block."""

# B batch, r rank, I inputs, O outputs

from __future__ import annotations

from collections.abc import Iterator, Mapping
from contextlib import ExitStack, contextmanager

import torch
from torch import Tensor, nn

from weft.families.feedback.nets.deltas import Factors


@contextmanager
def write_deltas(model: nn.Module, deltas: Mapping[str, Factors]) -> Iterator[None]:
    """Inside, each named layer computes x (W + B^T A)^T + bias, with the deltas of each sample.

    The weights themselves are not touched, and gradients reach the factors; (x A^T) B is added to
    what the layer gives. A layer whose `forward` is not called, as in torch's fused encoder
    layers, has no delta.

    Args:
        model: any; its batch is dimension 0.
        deltas: name of an `nn.Linear`, as in `model.named_modules()` -> its factors, A (B, r, I)
            and B (B, r, O), or (r, I) and (r, O) for all samples alike.
    Raises:
        KeyError: the model has no linear layer of that name.
        ValueError: factors do not fit their layer.
    """
    layers = {name: each for name, each in model.named_modules() if isinstance(each, nn.Linear)}
    with ExitStack() as hooks:
        for name, factors in deltas.items():
            if name not in layers:
                raise KeyError(f"no linear layer `{name}`, but {', '.join(layers)}")
            layer = layers[name]
            found, wanted = (
                factors.A.shape[-1], factors.B.shape[-1], factors.count
            ), (layer.in_features, layer.out_features, 1)  # fmt: skip
            if found != wanted:
                raise ValueError(f"`{name}`: inputs, outputs, matrices are {wanted}, not {found}")
            one, two = factors.A, factors.B
            if (one.shape[-2], one.dtype) != (two.shape[-2], two.dtype):
                raise ValueError(
                    f"`{name}`: A has rank {one.shape[-2]}, of {one.dtype}, "
                    f"and B {two.shape[-2]}, of {two.dtype}"
                )
            hooks.callback(layer.register_forward_hook(_added(factors)).remove)
        yield


class _added:
    """A hook that adds the product with a delta to what a layer gives."""

    def __init__(self, factors: Factors) -> None:
        self.factors = factors

    def __call__(self, layer: nn.Module, given: tuple[Tensor, ...], out: Tensor) -> Tensor:
        """out + (x A^T) B."""
        down, up, [x] = self.factors.A, self.factors.B, given
        if down.dim() == 3 and len(down) != len(x):
            raise ValueError(f"deltas of {len(down)} samples for a batch of {len(x)}")
        codes = torch.einsum("b...i,bri->b...r" if down.dim() == 3 else "...i,ri->...r", x, down)
        form = "b...r,bro->b...o" if up.dim() == 3 else "...r,ro->...o"
        return out + torch.einsum(form, codes, up)
