"""Generators: they compute the rows of the deltas' factors from text and hidden states."""

# B batch, T positions, C width, V vocabulary, L blocks, r rank, M matrices of a block, k latents
# n = 2 M r rows of a block, in the order A, B, A, B, … of its matrices

from __future__ import annotations

from abc import ABC, abstractmethod
from collections.abc import Sequence
from dataclasses import dataclass
from itertools import pairwise

import torch
from torch import Tensor, nn
from torch.nn import functional as F

from weft.families.feedback.config import Config
from weft.families.feedback.nets.attention import Size, norm, normal
from weft.families.feedback.nets.feedbackward import Feedbackward
from weft.families.feedback.nets.rows import Rotation, Rows
from weft.nn.dense import linear
from weft.nn.dropout import dropout

Written = tuple[list[Tensor], Tensor]
"""Rows (B, n, C) for each feedforward block, lowest first, and a summary of the text (B, C)."""


@dataclass(frozen=True)
class Seen:
    """The input of a generator.

    Attributes:
        tokens: noisy tokens, int64 (B, T).
        table: the feedforward network's token embedding, (V, C).
        stream: its residual stream before each block and after the last, L + 1 of (B, T, C); empty
            for a generator that does not read it.
        rows, turn: the positions of text, and their rotary embedding.
        error: empty if errors are not read. Otherwise, at the tokens hidden from the pass that gave
            `stream`, the embedding of the true token minus the mean embedding under the guess of
            the head, (B, T, C), and 0 elsewhere; or the negative gradient of the loss at these
            tokens with respect to the stream after each block, L of (B, T, C).
        heard: inputs of Wo of each block, L of (B, T, C); empty if `stream` is.
        shown: text that is not [MASK], bool (B, T); None: all positions.
    """

    tokens: Tensor
    table: Tensor
    stream: tuple[Tensor, ...]
    rows: Rows
    turn: Rotation
    error: tuple[Tensor, ...] = ()
    heard: tuple[Tensor, ...] = ()
    shown: Tensor | None = None


class Generator(nn.Module, ABC):
    """Computes rows from the input.

    Attributes:
        reads_states: whether it needs `Seen.stream`.
    """

    reads_states: bool

    @abstractmethod
    def forward(self, seen: Seen) -> Written:
        """The rows, and a summary."""


class Reader(nn.Module):
    """The input of a feedback network: tokens, hidden states, or both.

    Tokens are embedded by a table of their own or by that of the feedforward network. Hidden states
    pass a layer norm and a linear map. Those after the last block are added to the embedding; those
    before block j are added to x before the step that writes for block j.

    Args:
        size: of the network.
        tokens, states: whether tokens and hidden states are read.
        own_table: whether tokens are embedded by a table of their own.
        shared_map: whether the hidden states of all blocks pass the same map.
        error: whether errors are added to the states, each through its own linear map.
    """

    def __init__(
        self,
        size: Size,
        *,
        tokens: bool,
        states: bool,
        own_table: bool,
        shared_map: bool,
        error: bool = False,
    ) -> None:
        super().__init__()
        width = size.n_embd
        self.p, self.tokens = size.dropout, tokens
        self.table = normal(size.vocab_size, width) if tokens and own_table else None
        self.last = normal(width, width) if states else None
        layers = 1 if shared_map else size.n_layer
        self.maps = nn.ParameterList(normal(width, width) for _ in range(layers if states else 0))
        self.error = normal(width, width) if error else None

    def forward(self, seen: Seen) -> tuple[Tensor, list[Tensor] | None]:
        """The embedded text (B, T, C), and what is added to it for each block, or None."""
        parts = []
        if self.tokens:
            table = seen.table if self.table is None else self.table
            parts.append(F.embedding(seen.tokens, table))
        if self.last is None:
            return dropout(parts[0], self.p, self.training), None
        *before, last = (norm(state) for state in seen.stream)
        parts.append(linear(last, self.last))
        if self.error is not None:
            parts.append(linear(_scaled(seen.error[-1], seen.rows), self.error))
        maps = list(self.maps) * (len(before) // len(self.maps))
        added = [linear(state, each) for state, each in zip(before, maps, strict=True)]
        return dropout(sum(parts[1:], parts[0]), self.p, self.training), added


class TokenGenerator(Generator):
    """The original's generator: each row is the output at a weight token.

    Args:
        reader: embeds the input.
        network: a feedback network with n tokens.
    """

    def __init__(self, reader: Reader, network: Feedbackward) -> None:
        super().__init__()
        self.reader, self.network = reader, network
        self.reads_states = reader.last is not None

    def forward(self, seen: Seen) -> Written:
        """The outputs at the weight tokens."""
        x, added = self.reader(seen)
        rows, last = self.network(x, seen.rows, seen.turn, added)
        return rows, seen.rows.mean(norm(last))


class LatentGenerator(Generator):
    """k queries per block, whose outputs z a shared map turns into rows.

    For each s of the 2 M factors of a block, u_s = GELU((LN z + e_s + e_layer) W^T), (k, C), and
    its r rows are mix_s u_s. W is shared by all blocks and matrices, so that only `mix`, (2 M, r,
    k), grows with r.

    Args:
        reader: embeds the input.
        network: a feedback network with k tokens.
        size: of the network.
        matrices: M.
        rank: r.
    """

    def __init__(
        self, reader: Reader, network: Feedbackward, size: Size, matrices: int, rank: int
    ) -> None:
        super().__init__()
        self.reader, self.network = reader, network
        self.reads_states = reader.last is not None
        latents = len(network.block(0).table)
        self.side = normal(2 * matrices, size.n_embd)
        self.layer = normal(size.n_layer, size.n_embd)
        self.map = normal(size.n_embd, size.n_embd, std=size.n_embd**-0.5)
        self.mix = normal(2 * matrices, rank, latents, std=latents**-0.5)

    def forward(self, seen: Seen) -> Written:
        """Mixtures of mapped latents."""
        x, added = self.reader(seen)
        read, last = self.network(x, seen.rows, seen.turn, added)
        rows = [self._rows(z, layer) for z, layer in zip(read, self.layer, strict=True)]
        return rows, seen.rows.mean(norm(last))

    def _rows(self, z: Tensor, layer: Tensor) -> Tensor:
        """Rows (B, n, C) of latents (B, k, C)."""
        sides = norm(z)[:, None] + self.side[:, None] + layer
        return torch.matmul(self.mix, F.gelu(linear(sides, self.map))).flatten(1, 2)


class OuterGenerator(Generator):
    """Outer products of hidden states with projections of themselves, summed over the text.

    With a the layer norm of the stream before a block and b of that after it, the M r rows of A are
    mean_t (P a_t) a_t^T and those of B mean_t (Q b_t) b_t^T. The cost is linear in T C r.

    Args:
        size: of the network.
        matrices: M.
        rank: r.
        shared: whether all blocks share P and Q.
        tokens: whether the normed token embedding is added to a and b.
    """

    reads_states = True

    def __init__(self, size: Size, matrices: int, rank: int, *, shared: bool, tokens: bool) -> None:
        super().__init__()
        layers = 1 if shared else size.n_layer
        self.rank, self.tokens = rank, tokens
        shape = (layers, matrices * rank, size.n_embd)
        self.before = normal(*shape, std=size.n_embd**-0.5)
        self.after = normal(*shape, std=size.n_embd**-0.5)

    def forward(self, seen: Seen) -> Written:
        """Sums over the text, projections first."""
        states = [norm(state) for state in seen.stream]
        if self.tokens:
            embedded = norm(F.embedding(seen.tokens, seen.table))
            states = [state + embedded for state in states]
        layers = range(len(states) - 1)
        rows = [
            self._rows(states[layer], states[layer + 1], layer % len(self.before), seen.rows)
            for layer in layers
        ]
        return rows, seen.rows.mean(states[-1])

    def _rows(self, before: Tensor, after: Tensor, layer: int, rows: Rows) -> Tensor:
        """Rows (B, n, C), A and B of each matrix in turn."""
        down = self._products(before, self.before[layer], rows)
        up = self._products(after, self.after[layer], rows)
        sides = [x.unflatten(1, (-1, self.rank)) for x in (down, up)]
        return torch.stack(sides, 2).flatten(1, 3)

    @staticmethod
    def _products(x: Tensor, projection: Tensor, rows: Rows) -> Tensor:
        """mean_t (P x_t) x_t^T, (B, M r, C)."""
        code = linear(x, projection)
        if rows.real is None:
            return code.transpose(1, 2) @ x / x.shape[1]
        return (code * rows.share(x)[:, :, None]).transpose(1, 2) @ x


class AssocGenerator(Generator):
    """An associative memory: each matrix stores values v_t under keys a_t of all text positions t.

    The rows P of A are the same for all inputs, and those of B are mean_t (P a_t) v_t^T, so that

        Delta x = B^T A x = mean_t (P a_t . P x) v_t

    up to scale. This is linear attention, computed by every later product with the weight (fast
    weights, arXiv 2102.11174). The key a_t is the matrix's own input at position t: for q, k and v
    the layer norm of the stream before the block, for Wo the output of attention, for the MLP the
    layer norm of the stream after the block. The value v_t is W applied to b at the position and
    its two neighbours, weighted entry by entry, where b is the layer norm of the stream after the
    block; it starts as b. Masked positions and padding are not stored. An error e_t adds U e_t to
    v_t.

    Args:
        size: of the network.
        matrices: M: q, k, v, o, and then those of the MLP.
        rank: r.
        shared: whether all blocks share P, W and U.
        tokens: whether the normed token embedding is added to b.
        error: whether errors are read.
    """

    reads_states = True

    def __init__(
        self, size: Size, matrices: int, rank: int, *, shared: bool, tokens: bool, error: bool
    ) -> None:
        super().__init__()
        layers, width = 1 if shared else size.n_layer, size.n_embd
        self.tokens = tokens
        self.keys = normal(layers, matrices, rank, width, std=width**-0.5)
        self.values = nn.Parameter(torch.eye(width).repeat(layers, matrices, 1))
        around = torch.tensor([1.0, 0.0, 0.0])[:, None]
        self.around = nn.Parameter(around.repeat(layers, 1, matrices * width))
        self.errors = normal(layers, matrices * width, width, std=width**-0.5) if error else None

    def forward(self, seen: Seen) -> Written:
        """The rows, by sums over all visible text, and a summary."""
        states = [norm(state) for state in seen.stream]
        embedded = norm(F.embedding(seen.tokens, seen.table)) if self.tokens else 0.0
        count = len(states) - 1
        errors = seen.error * (count // len(seen.error)) if seen.error else (None,) * count
        weight = seen.rows.share(states[0])
        if seen.shown is not None:
            weight = weight * seen.shown
        rows = []
        for n, (before, after) in enumerate(pairwise(states)):
            read = (before, before, before, seen.heard[n], after, after)
            values = self._values(after + embedded, errors[n], n % len(self.keys), seen)
            rows.append(self._rows(read, values, weight, n % len(self.keys)))
        return rows, seen.rows.mean(states[-1])

    def _values(self, after: Tensor, error: Tensor | None, layer: int, seen: Seen) -> Tensor:
        """v_t of all matrices, (B, T, M C)."""
        if seen.shown is not None:
            after = after * seen.shown[:, :, None]
        own, left, right = self.around[layer]
        mapped = linear(after, self.values[layer])
        values = (
            own * mapped
            + left * F.pad(mapped, (0, 0, 1, -1))
            + right * F.pad(mapped, (0, 0, -1, 1))
        )
        if error is None or self.errors is None:
            return values
        return values + linear(_scaled(error, seen.rows), self.errors[layer])

    def _rows(self, read: Sequence[Tensor], values: Tensor, weight: Tensor, layer: int) -> Tensor:
        """Rows (B, n, C), A and B of each matrix in turn."""
        written = []
        for keys, each, value in zip(
            self.keys[layer], read, values.chunk(len(self.keys[layer]), -1), strict=False
        ):
            codes = linear(each, keys) * weight[:, :, None]
            up = torch.bmm(codes.transpose(1, 2), value)
            written += [keys.expand(len(up), -1, -1), up]
        return torch.cat(written, 1)


def _scaled(error: Tensor, rows: Rows) -> Tensor:
    """Errors of each text (B, T, C) divided by their root mean square."""
    square = (error.square().mean(2) * rows.share(error)).sum(1)
    return error * square.add(1e-12).rsqrt()[:, None, None]


def build_generator(config: Config, size: Size, matrices: int) -> Generator:
    """The generator that `config` describes.

    Args:
        config: the run's config.
        size: of the networks.
        matrices: M, those that deltas change in a block.
    """
    rank, source = config.lora_rank, config.feedback_source
    assert rank is not None
    tokens, states = source != "hidden", source != "tokens"
    error = config.feedback_error != "none"
    if config.generator == "assoc":
        return AssocGenerator(
            size, matrices, rank, shared=config.recurrent, tokens=tokens, error=error
        )
    if config.generator == "outer":
        return OuterGenerator(size, matrices, rank, shared=config.recurrent, tokens=tokens)
    reader = Reader(
        size,
        tokens=tokens,
        states=states,
        own_table=config.own_embedding,
        shared_map=config.recurrent,
        error=error,
    )
    latent = config.generator == "latent"
    first = {"none": None, "after_text": "text", "fixed": config.data.block_size}
    network = Feedbackward(
        size,
        config.latents if latent else 2 * matrices * rank,
        recurrent=config.recurrent,
        reverse=config.feedback_reverse,
        first_position=first[config.rotary_weight_tokens],
    )
    if latent:
        return LatentGenerator(reader, network, size, matrices, rank)
    return TokenGenerator(reader, network)
