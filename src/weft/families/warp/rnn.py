"""The weight-space recurrent network, as a module to be used like `torch.nn.GRU`."""

# N batch, T steps, d data channels, D weights, o outputs, M places

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import replace
from itertools import pairwise

import torch
from torch import Tensor, nn

from weft.errors import ConfigError
from weft.families.warp import reference
from weft.families.warp.cell.clock import Clock, Ticks
from weft.families.warp.cell.drive import held_front
from weft.families.warp.cell.layer import Layer
from weft.families.warp.cell.outputs import Final, Head
from weft.families.warp.cell.recurrence_rule import Drive, Rule
from weft.families.warp.cell.root import MlpRoot, Root
from weft.families.warp.cell.shapes import check_shapes
from weft.families.warp.cell.time_conv import Embedding, Smoothing
from weft.families.warp.forms.choose import fed_back, free
from weft.nn.precision import full_precision


class WeightSpaceRNN(nn.Module):
    """A recurrent network whose state is the weight vector of a small MLP, the root.

    theta_t = clip(A theta_{t-1} + B [dx_t, dclock_t]),  out_t = head(root(theta_t; t / (T - 1)))

    >>> rnn = WeightSpaceRNN(input_size=3, output_size=5)
    >>> out, theta = rnn(torch.randn(8, 100, 3))         # (8, 100, 5) and (8, D)
    >>> rnn = WeightSpaceRNN(input_size=3)
    >>> known = (torch.arange(100) < 40).expand(8, -1)
    >>> out, theta = rnn(torch.randn(8, 100, 3), force=known)   # its own predictions after step 40

    Args:
        input_size: d.
        output_size: means that the root puts out; d if None. Feeding predictions back needs d.
        uncertain: whether a standard deviation follows for each mean.
        classes: number of logits that follow those.
        final: activation of the means, see `Head`.
        std_tanh, std_lower_bound: of the standard deviations, see `Head`.
        width, depth, nonlinearity: of the root; `depth` counts hidden layers.
        root: a root of another kind, in place of the MLP.
        inner_sizes: channels between stacked weight-space layers; empty for one layer.
        transition: kind of A, `full`, `diag`, `block:<width>` or `lowrank:<rank>`.
        drive: what moves the weights where predictions are fed back, see `Rule`.
        input_prev_data: whether the root sees data beside the clock.
        limit: bound of the weights; None for none.
        second_order: whether the weights keep their velocity.
        initial_layers: hidden layers of a network that makes theta_0 of x_0; None: theta_0 is free.
        initial_bias: whether that network has biases.
        initial_noise: deviation of noise added to each sequence's theta_0, as dropout is: in
            training only, drawn from torch's own generator.
        noise_in_eval: whether it is added in eval mode too.
        drive_std: B starts as N(0, drive_std^2); at 0 exactly by default.
        length: steps that make up the time from 0 to 1; those of each input if None.
        encoding, picture, time_as_channel: see `Clock`.
        embedding: (channels, kernel, causal) of a convolution before the recurrence.
        smoothing: whether a learnt 3-tap filter runs over the outputs; causal if `embedding` is.
        form: how the recurrence is computed: `auto`, `loop`, or one of `choose.FORMS`, which holds
            for training steps; it never changes what is computed.
    Raises:
        ConfigError: if the parts do not fit together.
    """

    def __init__(
        self,
        input_size: int,
        output_size: int | None = None,
        *,
        uncertain: bool = False,
        classes: int = 0,
        final: Final = None,
        std_tanh: bool = False,
        std_lower_bound: float = 0.0,
        width: int = 24,
        depth: int = 3,
        nonlinearity: str = "relu",
        root: Root | None = None,
        inner_sizes: Sequence[int] = (),
        transition: str = "full",
        drive: Drive = "diff",
        input_prev_data: bool = False,
        limit: float | None = None,
        second_order: bool = False,
        initial_layers: int | None = None,
        initial_bias: bool = True,
        initial_noise: float = 0.0,
        noise_in_eval: bool = False,
        drive_std: float = 0.0,
        length: int | None = None,
        encoding: tuple[int, float] | None = None,
        picture: tuple[int, int] | None = None,
        time_as_channel: bool = False,
        embedding: tuple[int, int, bool] | None = None,
        smoothing: bool = False,
        form: str = "auto",
    ) -> None:
        super().__init__()
        self.input_size, self.length, self.form = input_size, length, form
        self.initial_noise, self.noise_in_eval = initial_noise, noise_in_eval
        self.clock = Clock(length or 1, encoding, picture, time_as_channel)
        self.head = Head(
            input_size if output_size is None else output_size,
            final=final,
            uncertain=uncertain,
            std_tanh=std_tanh,
            std_lower_bound=std_lower_bound,
            classes=classes,
        )
        self.embedding = None if embedding is None else Embedding(input_size, *embedding)
        self.smoothing = Smoothing(bool(embedding and embedding[2])) if smoothing else None
        first = input_size if embedding is None else embedding[0]
        sizes = list(pairwise([first, *inner_sizes, self.head.outputs]))
        roots: list[Root] = [
            MlpRoot(self.clock.features + inputs * input_prev_data, outputs, width, depth,
                    nonlinearity)
            for inputs, outputs in sizes
        ]  # fmt: skip
        if root is not None:
            _check_root(root, roots[-1])
            roots[-1] = root
        self._stack = nn.ModuleList(
            Layer(
                own,
                Rule(inputs, drive, input_prev_data, limit, second_order),
                self.clock.channels,
                transition=transition,
                initial_layers=initial_layers,
                nonlinearity=nonlinearity,
                drive_std=drive_std,
                initial_bias=initial_bias,
            )
            for own, (inputs, _) in zip(roots, sizes, strict=True)
        )

    @property
    def layers(self) -> list[Layer]:
        """The weight-space layers, first to last."""
        return [layer for layer in self._stack if isinstance(layer, Layer)]

    def forward(
        self,
        x: Tensor,
        *,
        force: Tensor | None = None,
        sample: Tensor | None = None,
        length: Tensor | None = None,
        position: Tensor | None = None,
        last: bool = False,
    ) -> tuple[Tensor, Tensor]:
        """Reads sequences, freely (M1) or with predictions fed back (M2, M3).

        Args:
            x: (N, T, d).
            force: share of the truth in each step's input, (N, T), bool or in [0, 1]; the rest is
                the prediction. None for a free run.
            sample: standard normal, (N, T, d): the prediction fed back is mean + std * sample; None
                feeds back the mean.
            length: steps of right-aligned sequences, int64 (N,); what stands in front of them is
                ignored. None if all have T.
            position: place of each step on the clock, rising, (T,); 0, 1, ... if None.
            last: whether only the last step's output is wanted.
        Returns: outputs [means, deviations, logits] (N, T, o), or (N, 1, o) if `last`; and the
            last layer's weights after the last step, (N, D).
        Raises:
            DataError: if x, force or length is not of this shape.
            ConfigError: if predictions cannot be fed back.
        """
        self.check(x, force, sample, length)
        x = held_front(x, length)
        ticks = self.ticks(x, position, feedback=force is not None)
        with full_precision(x.device):
            if force is not None:
                out, theta = self._fed_back(x, force.to(x.dtype), sample, ticks, length)
                return out[:, -1:] if last else out, theta
            raw, theta = self._free(x, ticks, length, last and self.smoothing is None)
            raw = raw if self.smoothing is None else self.smoothing(raw)
            return self.head(raw[:, -1:] if last else raw), theta

    def ticks(self, x: Tensor, position: Tensor | None = None, *, feedback: bool = False) -> Ticks:
        """The clock of a call.

        Args:
            x: (N, T, d).
            position: place of each step, (T,); 0, 1, ... if None.
            feedback: whether predictions are fed back.
        """
        steps = x.shape[1]
        if position is None:
            position = torch.arange(steps, device=x.device)
        clock = replace(self.clock, length=self.length or steps)
        drive = self.layers[0].rule.drive if feedback else None
        return clock.ticks(position.to(x.dtype), drive)

    def check(
        self,
        x: Tensor,
        force: Tensor | None = None,
        sample: Tensor | None = None,
        length: Tensor | None = None,
    ) -> None:
        """Refuses what `forward` cannot take, with the errors it says it raises."""
        check_shapes(x, self.input_size, force=force, sample=sample, length=length)
        if force is None:
            return
        if self.head.channels != self.input_size or self.embedding or self.smoothing:
            raise ConfigError(
                f"predictions of {self.head.channels} channels cannot be fed back as inputs of "
                f"{self.input_size}, nor through convolutions over time",
                where="force",
                expected="as many means as inputs, no embedding, no smoothing",
            )
        if sample is not None and not self.head.uncertain:
            raise ConfigError(
                "a model without deviations has nothing to sample from",
                where="sample",
                expected="uncertain=True",
            )

    def _free(
        self, x: Tensor, ticks: Ticks, length: Tensor | None, last: bool
    ) -> tuple[Tensor, Tensor]:
        signal = x if self.embedding is None else self.embedding(x)
        noise = self._noise(len(x))
        if self.form == "loop":
            run = reference.free(self.layers, signal, ticks, noise=noise, length=length)
            return run.out[:, -1:] if last else run.out, run.theta[-1]
        for i, layer in enumerate(self.layers):
            top = i == len(self.layers) - 1
            signal, theta = free(
                layer,
                held_front(signal, length),
                ticks,
                noise=None if noise is None else noise[i],
                length=length,
                last=last and top,
                form=self.form if self.training and top else "auto",
            )
        return signal, theta

    def _fed_back(
        self,
        x: Tensor,
        force: Tensor,
        sample: Tensor | None,
        ticks: Ticks,
        length: Tensor | None,
    ) -> tuple[Tensor, Tensor]:
        layers, noise = self.layers, self._noise(len(x))
        if self.form == "loop" or len(layers) > 1:
            run = reference.autoregress(
                layers, self.head, x, force, ticks, sample=sample, noise=noise, length=length
            )
            return run.out, run.theta[-1]
        return fed_back(
            layers[0],
            self.head,
            x,
            force,
            ticks,
            sample=sample,
            noise=None if noise is None else noise[0],
            length=length,
            form=self.form if self.training else "auto",
        )

    def _noise(self, count: int) -> list[Tensor] | None:
        if self.initial_noise == 0 or not (self.training or self.noise_in_eval):
            return None
        return [
            self.initial_noise * torch.randn(count, layer.root.size, dtype=layer.B.dtype,
                                             device=layer.B.device)
            for layer in self.layers
        ]  # fmt: skip


def _check_root(root: Root, wanted: Root) -> None:
    if (root.inputs, root.outputs) != (wanted.inputs, wanted.outputs):
        raise ConfigError(
            f"the root maps {root.inputs} features to {root.outputs} outputs",
            where="root",
            expected=f"{wanted.inputs} features and {wanted.outputs} outputs",
        )
