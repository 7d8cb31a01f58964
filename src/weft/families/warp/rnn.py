"""The weight-space recurrent network, as a module to be used like `torch.nn.GRU`."""

# N batch, T steps, d data channels, D weights, o outputs, M places

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import replace
from itertools import pairwise
from typing import Any, NoReturn

import torch
from torch import Tensor, nn
from torch.nn.utils.rnn import PackedSequence

from weft.errors import ConfigError, DataError, UsageError
from weft.families.warp import reference
from weft.families.warp.cell.batch_layout import given
from weft.families.warp.cell.clock import Clock, Ticks, aligned
from weft.families.warp.cell.drive import first_data, held_front, known_data
from weft.families.warp.cell.layer import Layer
from weft.families.warp.cell.outputs import Final, Head
from weft.families.warp.cell.ranges import check_count, check_name, check_size
from weft.families.warp.cell.recurrence_rule import Drive, Rule
from weft.families.warp.cell.root import MlpRoot, Root, check_root
from weft.families.warp.cell.shapes import check_shapes, check_values
from weft.families.warp.cell.span import Span
from weft.families.warp.cell.time_conv import convolutions, finished
from weft.families.warp.forms.carrying import (
    carry_of,
    check_kind,
    check_state,
    check_theta0,
    left,
    left_fed_back,
)
from weft.families.warp.forms.choose import FORMS, fed_back, free
from weft.families.warp.reference import Carry, Feedback, State
from weft.nn.once import is_traced, is_transformed
from weft.nn.precision import full_precision


class WeightSpaceRNN(nn.Module):
    """A recurrent network whose state is the weight vector of a small MLP, the root.

    theta_t = clip(A theta_{t-1} + B [dx_t, dclock_t]),  out_t = head(root(theta_t; t / (T - 1)))

    >>> rnn = WeightSpaceRNN(input_size=3, output_size=5)
    >>> out, state = rnn(torch.randn(8, 100, 3))         # (8, 100, 5); state.theta is (8, D)
    >>> rnn = WeightSpaceRNN(input_size=3)
    >>> known = (torch.arange(100) < 40).expand(8, -1)
    >>> out, state = rnn(torch.randn(8, 100, 3), force=known)   # its own predictions after step 40
    >>> rnn = WeightSpaceRNN(input_size=3, length=200)
    >>> out, state = rnn(torch.randn(8, 100, 3))
    >>> out, state = rnn(torch.randn(8, 100, 3), state)         # the second half

    Args:
        input_size: d.
        output_size: number of means; d if None. Feeding predictions back needs d.
        uncertain: whether there is a standard deviation for each mean.
        classes: number of logits.
        final: activation of the means, see `Head`.
        std_tanh, std_lower_bound: of the standard deviations, see `Head`.
        width, depth, nonlinearity: of the root; `depth` counts hidden layers.
        root: another root instead of the MLP.
        inner_sizes: channels between stacked weight-space layers; empty for one layer.
        transition: kind of A, `full`, `diag`, `block:<width>`, `lowrank:<rank>`, `cdiag`, or
            `modal:<modes>`, whose state are modes h, with theta = mean + C h (`cell.span`).
        drive: the drive of the weights if predictions are fed back, see `Rule`.
        input_prev_data: whether the root's input includes data besides the clock.
        limit: c of the clip; None does not clip.
        halves: whether half of the gradient passes at the bound itself, see `Rule`.
        half: whether products with a full A are rounded to bfloat16, if weights are clipped and
            predictions fed back.
        second_order: whether the weights have a velocity, see `Rule`.
        initial_layers: hidden layers of a network from x_0 to theta_0; None: theta_0 is learnt.
        initial_bias: whether that network has biases.
        initial_noise: standard deviation of noise added to each sequence's theta_0, in training
            only, from torch's default generator.
        noise_in_eval: whether it is added in eval mode too.
        drive_std: B starts as N(0, drive_std^2); by default exactly at 0.
        horizon: memory of A at the start in steps: its time constants are spread from 2 to three
            times as many; None for A = I (100 for `cdiag` and `modal`, which always decay).
        length: steps in the time from 0 to 1; None: those of each input.
        encoding, picture, time_as_channel, waves: see `Clock`.
        encoding_extrapolates: `extrapolates` of the clock.
        embedding: (channels, kernel, causal) of a convolution before the recurrence.
        smoothing: whether a learnt 3-tap filter runs over the outputs; causal if `embedding` is.
        original_convolutions: whether both are the original's, see `Embedding` and `Smoothing`.
        batch_first: whether sequences are (N, T, d), or (T, N, d).
        form: how the recurrence is computed: `auto`, `loop`, or one of `choose.FORMS`, which is
            used in training; the results are the same up to rounding.
    Raises:
        ConfigError: if the parts do not fit together, or a number has no meaning.
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
        halves: bool = False,
        half: bool = False,
        second_order: bool = False,
        initial_layers: int | None = None,
        initial_bias: bool = True,
        initial_noise: float = 0.0,
        noise_in_eval: bool = False,
        drive_std: float = 0.0,
        horizon: float | None = None,
        length: int | None = None,
        encoding: tuple[int, float] | None = None,
        encoding_extrapolates: bool = False,
        picture: tuple[int, int] | None = None,
        time_as_channel: bool = False,
        waves: int = 0,
        embedding: tuple[int, int, bool] | None = None,
        smoothing: bool = False,
        original_convolutions: bool = False,
        batch_first: bool = True,
        form: str = "auto",
    ) -> None:
        super().__init__()
        check_count("input_size", input_size)
        check_name("form", form, ("auto", "loop", *FORMS))
        check_size("initial_noise", initial_noise, positive=False)
        self.batch_first = batch_first
        self.input_size, self.length, self.form = input_size, length, form
        self.initial_noise, self.noise_in_eval = initial_noise, noise_in_eval
        self.clock = Clock(
            1 if length is None else length,
            encoding,
            picture,
            time_as_channel,
            waves,
            encoding_extrapolates,
        )
        self.head = Head(
            input_size if output_size is None else output_size,
            final=final,
            uncertain=uncertain,
            std_tanh=std_tanh,
            std_lower_bound=std_lower_bound,
            classes=classes,
        )
        self.embedding, self.smoothing = convolutions(
            input_size, embedding, smoothing, original=original_convolutions
        )
        first = input_size if embedding is None else embedding[0]
        sizes = list(pairwise([first, *inner_sizes, self.head.outputs]))
        seen = [self.clock.features + inputs * input_prev_data for inputs, _ in sizes]
        roots: list[Root] = [
            MlpRoot(features, outputs, width, depth, nonlinearity)
            for features, (_, outputs) in zip(seen, sizes, strict=True)
        ]
        if root is not None:
            check_root(root, roots[-1])
            roots[-1] = root
        self._stack = nn.ModuleList(
            Layer(
                own,
                Rule(inputs, drive, input_prev_data, limit, second_order, halves, half),
                self.clock.channels,
                transition=transition,
                initial_layers=initial_layers,
                nonlinearity=nonlinearity,
                drive_std=drive_std,
                initial_bias=initial_bias,
                horizon=horizon,
            )
            for own, (inputs, _) in zip(roots, sizes, strict=True)
        )

    @property
    def layers(self) -> list[Layer]:
        """The weight-space layers, first to last."""
        return [layer for layer in self._stack if isinstance(layer, Layer)]

    def forward(
        self,
        x: Tensor | PackedSequence,
        state: State | None = None,
        *,
        theta0: Tensor | None = None,
        force: Tensor | None = None,
        sample: Tensor | None = None,
        length: Tensor | None = None,
        position: Tensor | None = None,
        last: bool = False,
    ) -> tuple[Any, State]:
        """Reads sequences, freely (M1) or with predictions fed back (M2, M3).

        Values of x where `force` is 0 are not read, and may be NaN.

        Args:
            x: (N, T, d), N and T swapped if not `batch_first`; one sequence (T, d); or a packed
                batch, of which each sequence is read as if it were alone.
            state: the state returned by the call for the steps before x; outputs and gradients are
                those of one call with all steps. `state.detach()` cuts the gradient.
            theta0: initial weights, (N, D) or (D,), instead of the learnt ones.
            force: share of the truth in each step's input, (N, T), bool or in [0, 1]; the rest is
                the prediction. None for a free run.
            sample: standard normal, (N, T, d): the prediction fed back is mean + std * sample; None
                feeds back the mean.
            length: steps of right-aligned sequences, int64 (N,); values before them are ignored,
                and the clock ends with them. None if all have T.
            position: position of each step on the clock, ascending, (T,); None: 0, 1, ..., or
                those that follow `state`.
            last: whether only the last step's output is wanted.
        Returns: outputs [means, deviations, logits] (N, T, o), or (N, 1, o) if `last`, laid out as
            x is; and the state after the last step, with the last layer's weights (N, D) as
            `state.theta`.
        Raises:
            DataError: if a tensor has another shape, or invalid values (checked on CPUs only).
            ConfigError: if predictions cannot be fed back, or the run cannot continue `state`.
            UsageError: under torch.jit.
        """
        if torch.compiler.is_dynamo_compiling():
            # A compiler would unroll a loop over steps without a benefit.
            run: Any = torch.compiler.disable(self.forward)
            return run(
                x, state, theta0=theta0, force=force, sample=sample, length=length,
                position=position, last=last,
            )  # fmt: skip
        if torch._C._get_tracing_state() is not None:
            self.__prepare_scriptable__()
        asked = given(x, force=force, sample=sample, length=length, batch_first=self.batch_first)
        if asked.packed is not None and position is not None:
            raise DataError("a packed batch has its own clocks", where="position", expected="None")
        x, force, sample, length = asked[:4]
        self.check(x, force, sample, length)
        feedback, before = force is not None, None
        start: tuple[Carry, ...] | None = None
        if theta0 is not None:
            check_theta0(self.layers, theta0, x.shape[0], state)
            start = (carry_of(self.layers[0], theta0, first_data(x, length)),)
        if state is not None:
            check_kind(state)
            state = state.map(lambda part: part.unsqueeze(0)) if asked.alone else state
            check_state(
                self.layers, state, len(x), feedback=feedback, ragged=length is not None,
                timed=self.length is not None, convolves=bool(self.embedding or self.smoothing),
            )  # fmt: skip
            start, before = state.carries, state.position
        check_values(x.shape[1], force=force, length=length, position=position, before=before)
        x = held_front(x, length)
        if position is None:
            position = torch.arange(x.shape[1], device=x.device)
            position = position if before is None else position + before + 1
        if asked.packed is None or length is None:
            ticks = self.ticks(x, position, feedback=feedback, before=before)
        else:
            own = [self.ticks(x[:, :n], feedback=feedback) for n in length.tolist()]
            ticks = aligned(own, x.shape[1])
        with full_precision(x.device):
            if force is not None:
                share = force.to(x.dtype)
                out, carries, back = self._fed_back(
                    known_data(x, share), share, sample, ticks, length, start, state and state.back
                )
                out = out[:, -1:] if last else out
            else:
                raw, carries = self._free(x, ticks, length, last and self.smoothing is None, start)
                out, back = finished(raw, self.head, self.smoothing, last=last), None
        after = State(carries, back, position[-1:])
        return asked.restored(out), after.map(lambda part: part[0]) if asked.alone else after

    def __prepare_scriptable__(self) -> NoReturn:
        """Called by torch.jit.script, which is not supported.

        Raises:
            UsageError: always.
        """
        raise UsageError(
            "torch.jit keeps neither the choice of a form nor its gradient",
            where="WeightSpaceRNN",
            expected="torch.compile, or the module as it is",
        )

    def ticks(
        self,
        x: Tensor,
        position: Tensor | None = None,
        *,
        feedback: bool = False,
        before: Tensor | None = None,
    ) -> Ticks:
        """The clock of a call.

        Args:
            x: (N, T, d).
            position: of each step, (T,); 0, 1, ... if None.
            feedback: whether predictions are fed back.
            before: position of the step before, (1,), in a run that continues a state.
        """
        place = torch.arange(x.shape[1], device=x.device) if position is None else position
        clock = replace(self.clock, length=self.length or x.shape[1])
        drive = self.layers[0].rule.drive if feedback else None
        return clock.ticks(place.to(x.dtype), drive, before)

    def parameter_groups(
        self, lr: float, transition_share: float | None = None
    ) -> list[dict[str, Any]]:
        """Groups for an optimiser such as Adam, which moves each entry by its rate at every step.

        >>> optimiser = torch.optim.AdamW(rnn.parameter_groups(1e-3))

        All D^2 entries of A together change its spectrum by up to D times the rate, with an effect
        at each of T steps. With one rate for all parameters weights therefore soon diverge, so A is
        a group of its own with a smaller rate.

        Args:
            lr: rate of all other parameters.
            transition_share: rate of A relative to `lr`; None: 1 / (largest change of A's spectrum
                by a step of 1), which is 1 / D for a full A.
        """
        apart, groups = set[nn.Parameter](), []
        for layer in self.layers:
            entries = list(layer.transition.parameters())
            share = 1 / layer.transition.reach if transition_share is None else transition_share
            still = {} if layer.transition.decays else {"weight_decay": 0.0}
            groups.append({"params": entries, "lr": lr * share, **still})
            apart |= set(entries)
        rest = [parameter for parameter in self.parameters() if parameter not in apart]
        return [{"params": rest, "lr": lr}, *groups]

    def check(
        self,
        x: Tensor,
        force: Tensor | None = None,
        sample: Tensor | None = None,
        length: Tensor | None = None,
    ) -> None:
        """Checks the arguments of `forward`, and raises the errors it documents."""
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
                "a model without standard deviations cannot be sampled",
                where="sample",
                expected="uncertain=True",
            )

    def _free(
        self,
        x: Tensor,
        ticks: Ticks,
        length: Tensor | None,
        last: bool,
        start: tuple[Carry, ...] | None,
    ) -> tuple[Tensor, tuple[Carry, ...]]:
        signal = x if self.embedding is None else self.embedding(x)
        if start is not None and self.embedding is not None:
            start = (start[0]._replace(seen=first_data(signal, length)),)
        noise = None if start is not None else self._noise(x.shape[0])
        # Of forms that are chosen by the size of a batch, those of one start's last step export.
        rule, one = self.layers[0].rule, self.layers[0].initial.shared
        sized = not (last and one) or rule.limit is not None
        if self.form == "loop" or is_transformed() or (sized and is_traced()):
            run = reference.free(
                self.layers, signal, ticks, noise=noise, length=length, carries=start
            )
            return run.out[:, -1:] if last else run.out, tuple(run.carries)
        carries = []
        for i, layer in enumerate(self.layers):
            top = i == len(self.layers) - 1
            below = held_front(signal, length)
            signal, theta = free(
                layer,
                below,
                ticks,
                noise=None if noise is None else noise[i],
                length=length,
                carry=None if start is None else start[i],
                last=last and top,
                form=self.form if self.training and top else "auto",
            )
            carries.append(left(theta, below[:, -1]))
        return signal, tuple(carries)

    def _fed_back(
        self,
        x: Tensor,
        force: Tensor,
        sample: Tensor | None,
        ticks: Ticks,
        length: Tensor | None,
        start: tuple[Carry, ...] | None,
        back: Feedback | None,
    ) -> tuple[Tensor, tuple[Carry, ...], Feedback]:
        layers, noise = self.layers, None if start is not None else self._noise(x.shape[0])
        modes = isinstance(layers[0].root, Span)
        stepwise = length is not None or layers[0].rule.limit is not None
        if self.form == "loop" or is_traced() or len(layers) > 1 or (modes and stepwise):
            run = reference.autoregress(
                layers, self.head, x, force, ticks,
                sample=sample, noise=noise, length=length, carries=start, back=back,
            )  # fmt: skip
            assert run.back is not None
            return run.out, tuple(run.carries), run.back
        out, theta = fed_back(
            layers[0],
            self.head,
            x,
            force,
            ticks,
            sample=sample,
            noise=None if noise is None else noise[0],
            length=length,
            carry=None if start is None else start[0],
            back=back,
            form=self.form if self.training else "auto",
        )
        d = self.head.channels
        guesses = out[..., :d] if sample is None else out[..., :d] + out[..., d : 2 * d] * sample
        carry, back = left_fed_back(x, force, guesses, theta, length, back)
        return out, (carry,), back

    def _noise(self, count: int) -> list[Tensor] | None:
        if self.initial_noise == 0 or not (self.training or self.noise_in_eval):
            return None
        return [
            self.initial_noise * torch.randn(count, layer.root.size, dtype=layer.B.dtype,
                                             device=layer.B.device)
            for layer in self.layers
        ]  # fmt: skip
