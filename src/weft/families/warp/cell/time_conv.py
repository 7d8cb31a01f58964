"""Convolutions over time: an embedding before the recurrence and a smoothing after the root."""

# N batch, T steps, d channels

from __future__ import annotations

import torch
from torch import Tensor, nn
from torch.nn import functional as F

from weft.families.warp.cell.outputs import Head
from weft.families.warp.cell.ranges import check_count


def _pad(x: Tensor, kernel: int, causal: bool, zeros: bool) -> Tensor:
    """Repeats the edges of x (N, d, T), or puts zeros there, so that a convolution keeps T."""
    left = kernel - 1 if causal else kernel // 2
    return F.pad(x, (left, kernel - 1 - left), mode="constant" if zeros else "replicate")


class Embedding(nn.Module):
    """One convolution without bias, whose channels replace the data for theta_0, B and the root.

    Beyond the edges the first and the last datum are repeated. Padding before a shorter sequence
    repeats its first datum too, so that it has no effect on a causal convolution.

    Args:
        inputs: d.
        channels: of the embedded signal.
        kernel: taps.
        causal: whether step t reads t - kernel + 1 ... t, instead of a window centred at t.
        original: whether values beyond the edges are zeros.
    """

    def __init__(
        self, inputs: int, channels: int, kernel: int, causal: bool, *, original: bool = False
    ) -> None:
        super().__init__()
        for number in (channels, kernel):
            check_count("embedding", number)
        self.kernel, self.causal, self.original = kernel, causal, original
        self.conv = nn.Conv1d(inputs, channels, kernel, bias=False)

    def forward(self, x: Tensor) -> Tensor:
        """(N, T, d) to (N, T, channels)."""
        signal: Tensor = self.conv(_pad(x.mT, self.kernel, self.causal, self.original))
        return signal.mT


class Smoothing(nn.Module):
    """Three taps over time, shared by all outputs; starts as the identity.

    Args:
        causal: whether step t reads t - 2 ... t, instead of t - 1 ... t + 1.
        original: whether it is always centred, has zeros beyond the edges, starts at random and is
            applied after the head, so that its results may exceed the head's bounds.
    """

    kernel = 3

    def __init__(self, causal: bool, *, original: bool = False) -> None:
        super().__init__()
        self.causal, self.original = causal and not original, original
        taps = torch.zeros(self.kernel)
        taps[-1 if causal else 1] = 1.0
        if original:
            taps.uniform_(-(self.kernel**-0.5), self.kernel**-0.5)
        self.taps = nn.Parameter(taps)

    def forward(self, out: Tensor) -> Tensor:
        """(N, T, outputs) to the same shape."""
        padded = _pad(out.mT, self.kernel, self.causal, self.original)
        return (padded.unfold(-1, self.kernel, 1) @ self.taps).mT


def finished(raw: Tensor, head: Head, smoothing: Smoothing | None, *, last: bool = False) -> Tensor:
    """Raw outputs (N, T, o) after head and smoothing, in the order that the smoothing defines.

    If `last`, only the last step's outputs are returned.
    """
    if smoothing is not None and not smoothing.original:
        raw = smoothing(raw)
    if smoothing is None or not smoothing.original:
        return head(raw[:, -1:] if last else raw)
    out = smoothing(head(raw))
    return out[:, -1:] if last else out


def convolutions(
    channels: int, embedding: tuple[int, int, bool] | None, smoothing: bool, *, original: bool
) -> tuple[Embedding | None, Smoothing | None]:
    """The convolutions before the recurrence and after the root, as far as asked for.

    Args:
        channels: d.
        embedding: (channels, kernel, causal) of the first; None for none.
        smoothing: whether there is the second, which is causal if the first is.
        original: whether both are the original's.
    """
    before = None if embedding is None else Embedding(channels, *embedding, original=original)
    causal = embedding is not None and embedding[2]
    return before, Smoothing(causal, original=original) if smoothing else None
