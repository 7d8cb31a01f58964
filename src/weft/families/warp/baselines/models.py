"""Sequence models with an ordinary state and the interface of the weight-space model."""

# N batch, T steps, d data channels, q clock features, r clock channels, H state width

from __future__ import annotations

from collections.abc import Callable
from itertools import pairwise
from typing import Literal

import torch
from torch import Tensor, nn

from weft.families.warp.baselines.cells import Cell, GatedCell, LinearCell
from weft.families.warp.baselines.ssm import DiagonalCell
from weft.families.warp.cell.activation import activation
from weft.families.warp.cell.clock import Clock
from weft.families.warp.cell.drive import first_data, free_drive, held_front
from weft.families.warp.cell.outputs import Head, Prediction
from weft.families.warp.cell.parts import clock_of, head_of, inputs_of, root_of, rule_of
from weft.families.warp.cell.recurrence_rule import Rule
from weft.families.warp.cell.root import Root
from weft.families.warp.cell.shapes import check_shapes
from weft.families.warp.cell.span import Span
from weft.families.warp.cell.time_conv import Embedding, Smoothing, finished
from weft.families.warp.config import Config
from weft.families.warp.sets.source import SeriesSpec

Kind = Literal["gru", "lstm", "linear", "ssm"]


class Baseline(nn.Module):
    """A GRU, LSTM, linear recurrence or diagonal state-space model, with `WarpModel`'s interface.

    Inputs and decoder:   gru, lstm, ssm   [xin_t, tau_t]             h_t -> one affine map
                          linear           [dx_t, dclock_t]           [h_t, z_t] -> an MLP

    with xin, dx, tau and z of the weight-space model; the linear recurrence is that model with a
    fixed decoder. Heads, forcing, grounding and sampling are the same code.

    Args:
        kind: of the recurrence.
        rule: of the weight-space model with which this one is compared.
        clock, head, embedding, smoothing: as there.
        width, layers: of the recurrence.
        decoder_width, decoder_depth, nonlinearity: of the linear recurrence's decoder.
        root: a root as decoder, with weights theta = mean + C h_t; `query` reads it as it does
            that of the weight-space model.
    """

    def __init__(
        self,
        kind: Kind,
        rule: Rule,
        clock: Clock,
        head: Head,
        *,
        width: int,
        layers: int = 1,
        decoder_width: int = 24,
        decoder_depth: int = 3,
        nonlinearity: str = "relu",
        embedding: Embedding | None = None,
        smoothing: Smoothing | None = None,
        root: Root | None = None,
    ) -> None:
        super().__init__()
        self.kind, self.rule, self.clock, self.head = kind, rule, clock, head
        self.embedding, self.smoothing = embedding, smoothing
        self.channels = rule.channels if embedding is None else embedding.conv.in_channels
        channels = rule.channels
        plain = channels + clock.features
        self.cell: Cell
        if kind == "linear":
            self.cell = LinearCell(channels + clock.channels, channels, width, layers)
            read = width + clock.features + channels * rule.input_prev_data
            sizes = [read, *[decoder_width] * decoder_depth, head.outputs]
        else:
            self.cell = (
                DiagonalCell(plain, width, layers)
                if kind == "ssm"
                else GatedCell(kind, plain, width, layers)
            )
            sizes = [width, head.outputs]
        self.span = None if root is None else Span(root, width)
        affine = () if root is not None else pairwise(sizes)
        self.maps = nn.ModuleList(nn.Linear(a, b) for a, b in affine)
        self.activation = activation(nonlinearity)

    def decode(self, features: Tensor, tau: Tensor, data: Tensor) -> Tensor:
        """Raw outputs for features (..., H), clock (..., q) and data (..., d)."""
        if self.span is not None:
            return self.span(features, tau)
        h = features
        if self.kind == "linear":
            h = torch.cat([h, tau, data] if self.rule.input_prev_data else [h, tau], -1)
        for number, layer in enumerate(self.maps):
            h = layer(self.activation(h) if number else h)
        return h

    def forward(
        self,
        x: Tensor,
        *,
        force: Tensor | None = None,
        sample: Tensor | None = None,
        length: Tensor | None = None,
        position: Tensor | None = None,
        last: bool = False,
    ) -> Prediction:
        """Reads sequences, freely or with predictions fed back.

        Args:
            x: (N, T, d).
            force: share of the truth in each step's input, (N, T); None for a free run.
            sample: standard normal, (N, T, d): the prediction fed back is mean + std * sample; None
                feeds back the mean.
            length: steps of right-aligned sequences, int64 (N,).
            position: of each step on the clock, (T,); 0, 1, ... if None.
            last: whether only the last step's output is wanted.
        Returns: predictions, with the last features (N, H) in place of weights.
        Raises:
            DataError: if x, force, sample or length is not of this shape.
        """
        check_shapes(x, self.channels, force=force, sample=sample, length=length)
        x = held_front(x, length)
        if position is None:
            position = torch.arange(x.shape[1], device=x.device, dtype=x.dtype)
        drive = None if force is None else self.rule.drive
        tau, dclock = self.clock.ticks(position, drive)
        if force is None:
            out, features = self._free(x, tau, dclock, length, last)
        else:
            out, features = self._fed_back(x, tau, dclock, force, sample, length)
        return self.head.split(out[:, -1:] if last else out, features)

    def query(self, theta: Tensor, position: Tensor) -> Prediction:
        """Predictions at any position from the features of the last step.

        Args:
            theta: these features, (N, H).
            position: positions in steps, (M,), or of each sequence (N, M).
        """
        assert self.span is not None, "the baseline was built to be asked"
        tau = self.clock.read(position.to(theta.dtype))
        raw = self.span(theta.unsqueeze(1), tau.expand(theta.shape[0], *tau.shape[-2:]))
        return self.head.split(self.head(raw), theta)

    def _free(
        self, x: Tensor, tau: Tensor, dclock: Tensor, length: Tensor | None, last: bool
    ) -> tuple[Tensor, Tensor]:
        if self.embedding is not None:
            x = self.embedding(x)
        seen = tau.expand(x.shape[0], *tau.shape)
        inputs = (
            free_drive(x, dclock, length) if self.kind == "linear" else torch.cat([x, seen], -1)
        )
        # Sequences begin at step 0 of the recurrence, so that padding does not change its state.
        features = self.cell(first_data(x, length), _shifted(inputs, length, to_front=True))
        features = _shifted(features, length, to_front=False)
        if last and self.smoothing is None:
            features, seen, x = features[:, -1:], seen[:, -1:], x[:, -1:]
        raw = self.decode(features, seen, x)
        return finished(raw, self.head, self.smoothing), features[:, -1]

    def _fed_back(
        self,
        x: Tensor,
        tau: Tensor,
        dclock: Tensor,
        force: Tensor,
        sample: Tensor | None,
        length: Tensor | None,
    ) -> tuple[Tensor, Tensor]:
        batch, steps = x.shape[:2]
        starts = None if length is None else steps - length
        guess = before = given = first_data(x, length)
        state = begun = self.cell.begin(guess)
        outs: list[Tensor] = []
        features = x.new_zeros(batch, self.cell.width)
        for t in range(steps):
            share = force[:, t, None]
            fed = share * x[:, t] + (1 - share) * guess
            base = {"diff": before, "innovation": guess, "true_diff": given}[self.rule.drive]
            place, tick = tau[t].expand(batch, -1), dclock[t].expand(batch, -1)
            u = torch.cat([fed - base, tick] if self.kind == "linear" else [fed, place], -1)
            state, features = self.cell.step(state, u)
            out = self.head(self.decode(features, place, before))
            outs.append(out)
            mean = out[:, : self.head.channels]
            if sample is not None:
                std = self.head.split(out, features).std
                assert std is not None, "the config lets only uncertain models be stochastic"
                mean = mean + std * sample[:, t]
            guess, before, given = mean, guess, fed
            if starts is not None:
                waits = (starts > t)[:, None]
                guess, before, given = (
                    torch.where(waits, x[:, t], v) for v in (guess, before, given)
                )
                state = tuple(
                    torch.where(waits.view(-1, *[1] * (now.dim() - 1)), then, now)
                    for then, now in zip(begun, state, strict=True)
                )
        return torch.stack(outs, 1), features


def build_baseline(config: Config, spec: SeriesSpec, width: int) -> Baseline:
    """The baseline that `config.model_type` names, with the same parts as the weight-space model.

    Args:
        config: the run's config.
        spec: of the data.
        width: H.
    """
    assert config.model_type in ("gru", "lstm", "linear", "ssm")
    embedding = smoothing = None
    inputs, original = inputs_of(config, spec), config.convolutions == "original"
    channels = inputs
    causal = False
    if config.conv_embedding is not None:
        channels, kernel, flag = config.conv_embedding
        causal = bool(flag)
        embedding = Embedding(inputs, channels, kernel, causal, original=original)
    if config.output_smoothing:
        smoothing = Smoothing(causal, original=original)
    clock, head = clock_of(config, spec), head_of(config, spec)
    asked = config.read == "query"
    return Baseline(
        config.model_type,
        rule_of(config, channels),
        clock,
        head,
        width=width,
        layers=config.nb_rnn_layers,
        decoder_width=config.mlp_hidden_size,
        decoder_depth=config.mlp_depth,
        nonlinearity=config.root_activation,
        embedding=embedding,
        smoothing=smoothing,
        root=root_of(config, clock.features, 0, head) if asked else None,
    )


def equal_width(build: Callable[[int], nn.Module], parameters: int) -> int:
    """The state width whose model has the number of parameters nearest to `parameters`.

    Args:
        build: width -> model; the number of parameters must increase with the width.
        parameters: the number wanted.
    """

    def count(width: int) -> int:
        with torch.device("meta"):
            return sum(p.numel() for p in build(width).parameters())

    low, high = 1, 2
    while count(high) < parameters:
        low, high = high, 2 * high
    while high - low > 1:
        middle = (low + high) // 2
        low, high = (middle, high) if count(middle) < parameters else (low, middle)
    return low if parameters - count(low) <= count(high) - parameters else high


def _shifted(values: Tensor, length: Tensor | None, *, to_front: bool) -> Tensor:
    """Sequences (N, T, c) moved from the right end to the left, or back; edges are repeated."""
    if length is None:
        return values
    steps = values.shape[1]
    padding = (steps - length)[:, None]
    place = torch.arange(steps, device=values.device) + (padding if to_front else -padding)
    place = place.clamp(0, steps - 1)[..., None].expand_as(values)
    return values.gather(1, place)
