"""The bound on the negative log-likelihood of a token, and its standard error over chunks."""

# B rows, T positions of a row, C width, N masked positions of a batch, V vocabulary, M chunks

from __future__ import annotations

from collections.abc import Callable

import torch
from torch import Tensor

from weft.families.feedback.noise.process import Noised, positions

#: (read (N, C), targets (N,), weight (N,)) -> weighted sum of cross-entropies, and each of them
Head = Callable[[Tensor, Tensor, Tensor], tuple[Tensor, Tensor]]


def bound(head: Head, read: Tensor, noised: Noised, count: Tensor | int) -> tuple[Tensor, Tensor]:
    """NELBO = (1/count) sum_{i masked} CE_i / p_i, the loss of LLaDA (Nie et al. 2025, Eq. 3).

    Its expectation over t and masks is an upper bound on the negative log-likelihood of a token. If
    no position is masked, it is 0.

    Args:
        head: computes cross-entropies from hidden states.
        read: hidden states of the noisy tokens, (B, T, C), or at `positions` alone, (N, C).
        noised: the batch.
        count: number of positions in the mean, with or without padding.
    Returns: nats per token, a scalar, and nats at each of `positions`, (N,), without gradient.
    """
    at = positions(noised.masked)
    # `at` may have positions that are not masked. They get weight 0, and id 0 as their target,
    # since [PAD] as a target would have an infinite loss.
    return head(
        read if read.dim() == 2 else read.flatten(0, 1).index_select(0, at),
        (noised.clean * noised.masked).flatten().index_select(0, at),
        (noised.weight * noised.masked / count).flatten().index_select(0, at),
    )


def row_sums(values: Tensor, masked: Tensor) -> Tensor:
    """Sums over each row of values that belong to masked positions.

    Args:
        values: (N,), in the order of `tensor[masked]`.
        masked: bool (B, T) with N true entries.
    Returns: (B,), dtype of `values`.
    """
    row = masked.nonzero()[:, 0]
    return values.new_zeros(len(masked)).index_add_(0, row, values)


def ratio(sums: Tensor, counts: Tensor) -> tuple[float, float]:
    """A mean over tokens, and its standard error if chunks are independent samples.

    Tokens of one chunk depend on each other. With the ratio R the error is therefore
    se^2 = M/(M-1) sum_i (s_i - R n_i)^2 / (sum_i n_i)^2 (Cochran 1977, section 6.4).

    Args:
        sums: s_i, sum of a quantity over the tokens of each chunk, (M,).
        counts: n_i, tokens of each chunk, (M,).
    Returns: R = sum_i s_i / sum_i n_i, and se; the error of a single chunk is infinite.
    """
    sums, counts = sums.double(), counts.double()
    total = counts.sum()
    mean = sums.sum() / total
    chunks = len(sums)
    if chunks < 2:
        return float(mean), float("inf")
    spread = (sums - mean * counts).square().sum() * chunks / (chunks - 1)
    return float(mean), float(spread.sqrt() / total)


def entropy(counts: Tensor) -> float:
    """Entropy -sum_i f_i ln f_i in nats of the frequencies f = counts / sum of counts.

    Args:
        counts: how often each kind was seen, (V,), not all 0.
    """
    share = counts.double() / counts.sum()
    return float(torch.special.entr(share).sum())
