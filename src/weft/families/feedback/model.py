"""The language model of a run: the feedforward network and whatever adapts it."""

# B batch, T positions, C width, V vocabulary, L blocks, N positions with a loss

from __future__ import annotations

import torch
from torch import Tensor, nn

from weft.data.source import DataSpec
from weft.families.feedback.config import Config
from weft.families.feedback.nets.adapt import Writer, matrices, train_only
from weft.families.feedback.nets.attention import Size
from weft.families.feedback.nets.deltas import Deltas
from weft.families.feedback.nets.feedforward import Feedforward, rotation
from weft.families.feedback.nets.generator import Generator, Seen, build_generator
from weft.families.feedback.nets.logits import cross_entropy
from weft.families.feedback.nets.rows import Rows
from weft.nn.dense import linear


class LanguageModel(nn.Module):
    """A feedforward network, a network that writes deltas into it, and self-conditioning.

    A frozen feedforward network stays in eval mode: its dropout is off.

    Args:
        base: the feedforward network.
        writer: makes deltas out of rows, and holds the static ones; None: no deltas.
        generator: writes rows from the input; None: deltas are static.
        self_condition: whether an earlier guess can enter the embedding.
        head_chunk: positions whose logits exist at once; None: all.
    Attributes:
        origin: the feedforward network as it was before adaptation, where that changes it.
    """

    def __init__(
        self,
        base: Feedforward,
        writer: Writer | None = None,
        generator: Generator | None = None,
        *,
        self_condition: bool = False,
        head_chunk: int | None = None,
    ) -> None:
        super().__init__()
        width = base.size.n_embd
        self.base, self.writer, self.generator = base, writer, generator
        self.origin: Feedforward | None = None
        self.condition = nn.Parameter(torch.zeros(width, width)) if self_condition else None
        self.head_chunk = head_chunk

    def train(self, mode: bool = True) -> LanguageModel:
        """Sets the mode; a frozen feedforward network stays in eval mode."""
        super().train(mode)
        self.base.train(mode and any(p.requires_grad for p in self.base.parameters()))
        return self

    def forward(
        self,
        tokens: Tensor,
        rows: Rows,
        *,
        previous: Tensor | None = None,
        deltas: Deltas | None = None,
        adapt: bool = True,
    ) -> Tensor:
        """What the head reads, (B, T, C).

        Args:
            tokens: noisy tokens, int64 (B, T).
            rows: where text lies.
            previous: what `forward` gave for an earlier guess, without gradient, (B, T, C); used
                only by a model with self-conditioning, to which None means no guess.
            deltas: written before; None: written now, from the same tokens.
            adapt: False leaves the feedforward network as it is, without deltas.
        """
        if adapt and deltas is None:
            deltas = self.deltas(tokens, rows, previous=previous)
        read: Tensor = self.base(tokens, rows, deltas if adapt else None, self._added(previous))[0]
        return read

    def deltas(
        self, tokens: Tensor, rows: Rows, *, previous: Tensor | None = None
    ) -> Deltas | None:
        """The deltas for these tokens; None if the model has none.

        If they are read from hidden states, this runs the feedforward network once, without
        deltas and without gradient.
        """
        if self.writer is None:
            return None
        if self.generator is None:
            static: Deltas = self.writer(None, None)
            return static
        stream: tuple[Tensor, ...] = ()
        if self.generator.reads_states:
            with torch.no_grad():
                stream = self.base(tokens, rows, None, self._added(previous))[1]
        turn = rotation(tokens, rows, self.base.size, self.base.table.dtype)
        seen = Seen(tokens, self.base.table, stream, rows, turn)
        rows_of_blocks, summary = self.generator(seen)
        written: Deltas = self.writer(rows_of_blocks, summary)
        return written

    def cross_entropy(self, read: Tensor, targets: Tensor, weight: Tensor) -> tuple[Tensor, Tensor]:
        """Weighted sum of cross-entropies, differentiable, and each of them in nats, constant.

        Args:
            read: what `forward` gave at the positions that count, (N, C); N may be 0.
            targets: int64 (N,).
            weight: (N,).
        """
        return cross_entropy(read, self.base.table, targets, weight, self.head_chunk)

    def logits(self, read: Tensor) -> Tensor:
        """Logits (…, V) of what `forward` gave, (…, C)."""
        return linear(read, self.base.table)

    def inherited(self, *, condition: bool) -> nn.Module:
        """The part that a parent without deltas fills, tensor for tensor.

        Args:
            condition: whether the parent has self-conditioning.
        """
        return _Inherited(self.base, self.condition if condition else None)

    def _added(self, previous: Tensor | None) -> Tensor | None:
        if self.condition is None or previous is None:
            return None
        return linear(previous, self.condition)


class _Inherited(nn.Module):
    """The modules a parent shares, under the names they have in a `LanguageModel`."""

    def __init__(self, base: Feedforward, condition: nn.Parameter | None) -> None:
        super().__init__()
        self.base, self.condition = base, condition


def build_model(config: Config, spec: DataSpec) -> LanguageModel:
    """The model that `config` describes, with the parameters frozen that do not train.

    Args:
        config: the run's config.
        spec: its data; `num_classes` is the number V of rows of the token table.
    """
    model = config.model
    size = Size(spec.num_classes, model.n_layer, model.n_head, model.n_embd, model.dropout)
    base = Feedforward(size)
    writer, generator = None, None
    if config.deltas != "none":
        assert config.lora_rank is not None
        kinds = matrices(size, mlp="mlp" in config.feedback_target)
        if config.dynamic:
            generator = build_generator(config, size, sum(kind.count for kind in kinds))
        writer = Writer(
            kinds,
            size,
            config.lora_rank,
            static="static" in config.deltas,
            dynamic=config.dynamic,
            gain="gain" in config.feedback_target,
            raw=config.mode == "compat",
        )
    train_only(base, config.adapted)
    return LanguageModel(
        base,
        writer,
        generator,
        self_condition=config.self_condition,
        head_chunk=model.head_chunk,
    )
