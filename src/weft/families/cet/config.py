"""Options of a cet run: the trace, the network, the stream of inputs."""

from __future__ import annotations

import math
from collections.abc import Iterator
from typing import Annotated, Literal

from pydantic import Field

from weft.config.base import FamilyConfig
from weft.config.cadence import Cadence
from weft.config.family import Parallel
from weft.config.paths import MayBePath, is_npz
from weft.config.rule import Rule
from weft.config.section import KindConfig
from weft.config.sections import LAYOUT, Cosine, DataConfig, EvalConfig, Layout, NormClip, Sgd
from weft.families.cet.options.control import Control
from weft.families.cet.options.needs import NEEDS


class CetData(DataConfig):
    """Which images are seen, and in which order they arrive."""

    dataset: Annotated[str, MayBePath(is_npz)] = Field(
        "digits",
        min_length=1,
        description="digits, mnist, fashion-mnist, cifar10, or the path of an .npz file.",
    )
    layout: Layout | None = Field(None, description=LAYOUT)
    n_groups: int = Field(
        1, ge=1, description="Consecutive time steps that show items of one class."
    )
    interp_factor: int = Field(
        1, ge=1, description="Time steps from one item to the next; those between are blends."
    )
    ordered: bool = Field(
        False, description="Whether classes follow each other in a fixed order, 0, 1, 2, …"
    )
    flip: bool | Literal["auto"] = Field(
        "auto",
        description="Whether each item is mirrored left-right with probability 0.5; "
        "auto: only for the cnn on cifar10.",
    )
    use_val: bool = Field(
        False, description="Whether a tenth of the training items is held out for validation."
    )
    balance: bool = Field(
        True, description="Whether every class is cut to the size of the smallest."
    )


class CetEval(EvalConfig):
    """When the model is evaluated: every 390 steps by default, as in the original's README."""

    every: Cadence = Field("390 steps", description="How often; always after the last step.")


_OF_IMAGES = ("timescale", "arch", "norm_op", "p_drop", "top_quantile")
"""Options without meaning for a run of reinforcement learning."""


class Config(FamilyConfig):
    """Training with delayed errors by cascading eligibility traces."""

    needs = NEEDS

    family: Literal["cet"] = Field("cet", description="Which family trains.")
    batch_size: int = Field(
        128, ge=2, description="Length B of one stream in time steps: item i is shown at time i."
    )
    streams: int = Field(
        1, ge=1, description="Independent streams of `batch_size` steps in a batch, over all ranks."
    )

    timescale: Literal["behavioural", "retrograde"] = Field(
        "behavioural",
        description="Whether every layer gets its error `delay` steps late, or an error takes "
        "`delay` steps from each layer to the one below; then none is lost.",
    )
    delay: int = Field(
        5,
        ge=0,
        description="Time steps between an input and the arrival of its error; on the retrograde "
        "timescale, for each layer on its way back.",
    )
    order: int = Field(
        6, ge=1, le=200, description="Stages of the cascade; 1 is the exponential trace."
    )
    kernel: Literal["cascade", "ideal", "sideways"] = Field(
        "cascade",
        description="Trace: cascade of `order` stages; ideal, a pure delay; sideways, no memory.",
    )
    readout: Literal["last", "optimal", "legendre"] = Field(
        "last",
        description="What is read: the last stage of the cascade; the mix of all its stages with "
        "most of its energy at the delay; or such a mix of the states of a Legendre delay system.",
    )
    covariance: float | None = Field(
        None,
        gt=0,
        description="Traces hold what differs from a running mean of the activity, and the mean "
        "meets the sum of errors: weight of the first part. 1 is unbiased; null is the plain form.",
    )
    error: Literal["impulse", "smeared"] = Field(
        "impulse",
        description="Whether an error arrives at one step or spread by the same kernel; on the "
        "retrograde timescale it is its gate that is spread.",
    )
    gate: Literal["auto", "trace", "both", "error"] = Field(
        "auto",
        description="Where the ReLU's derivative acts: on the trace, the error, or both; "
        "auto: both in dense layers, trace in convolutions and on the retrograde timescale.",
    )
    theta_threshold: float = Field(
        0.0,
        ge=0,
        description="Retrograde: a gate below this times its kernel's largest value is closed.",
    )
    effective_batch: int | None = Field(
        None,
        ge=1,
        description="Retrograde: steps for which a kernel is made, beside those of the delays; "
        "null: `batch_size`.",
    )
    sparse_inputs: bool = Field(
        False, description="Whether items with (almost) no error are left out of the traces."
    )
    sparse_threshold: float = Field(
        1e-8, ge=0, description="Summed squared error at a layer up to which an item is left out."
    )
    sparse_relative: bool = Field(
        False,
        description="Whether `sparse_threshold` is in units of 1/n², n the items of the mean loss, "
        "which makes it independent of the batch size.",
    )
    threshold: float | None = Field(
        None, ge=0, description="Inputs smaller than this in magnitude leave no trace."
    )
    binary: float | None = Field(
        None, description="Inputs leave a trace of 1 from this value on, else of 0."
    )
    carry: bool = Field(
        False,
        description="Whether streams go on from batch to batch, so that no error is lost.",
    )
    top_quantile: float = Field(
        0.0,
        ge=0,
        lt=1,
        description="Only items with a loss at or above this quantile of their stream are learnt.",
    )
    input_accumulation: int = Field(
        1, ge=1, description="Parts of a stream, every n-th item each, that have a quantile each."
    )
    random_times: bool = Field(
        False, description="Whether the items learnt get times at random, in place of their own."
    )
    bn_from: Literal["kept", "full"] = Field(
        "kept",
        description="Whether batch norm standardises the items learnt by their own statistics, or "
        "by those of the full stream.",
    )

    arch: Literal["mlp", "cnn"] = Field(
        "mlp", description="Two hidden layers, or three convolutions and one hidden layer."
    )
    hidden_dim: int = Field(512, ge=1, description="Units in a hidden dense layer.")
    norm_op: Literal["batch", "group", "instance", "layer", "none"] = Field(
        "batch", description="Normalisation after each convolution."
    )
    p_drop: float = Field(
        0.0, ge=0, lt=1, description="Share of units dropped after normalisation."
    )

    track_sim: bool = Field(
        False, description="Whether each layer's update is compared with its true gradient."
    )
    sim_every: int = Field(
        1, ge=1, description="Logged steps whose number is a multiple of this are compared."
    )

    control: Control = Field(Control(), description="Learning to act.")
    data: CetData = Field(CetData(), description="Data.")
    optim: KindConfig = Field(Sgd(lr=1e-3, weight_decay=1e-3), description="Optimiser.")
    schedule: KindConfig = Field(
        Cosine(warmup=0.05, min_lr=0.1), description="Learning rate over time."
    )
    clip: KindConfig = Field(NormClip(max_norm=0.5), description="Bound on gradients.")
    eval: EvalConfig = Field(CetEval(), description="Evaluation.")

    @property
    def items_per_stream(self) -> int:
        """Data items in one stream: `batch_size / data.interp_factor`."""
        return self.batch_size // self.data.interp_factor

    @property
    def kept_items(self) -> int:
        """Time steps of a stream that are learnt: those from the quantile of the loss upwards."""
        # The quantile lies at position q(B-1) of the sorted losses; 1e-9 absorbs rounding in q.
        size = self.batch_size // self.input_accumulation
        return self.input_accumulation * (size - math.ceil(self.top_quantile * (size - 1) - 1e-9))

    @property
    def taps(self) -> int | None:
        """Number of taps of a retrograde kernel, the same in all layers; None if behavioural."""
        if self.timescale == "behavioural":
            return None
        layers_below = 2 if self.arch == "mlp" else 4
        return (self.effective_batch or self.batch_size) + layers_below * self.delay + 5

    @property
    def sparse(self) -> float | None:
        """`Rule.sparse`: the threshold for errors of a stream's mean loss; None if off."""
        if not self.sparse_inputs:
            return None
        unit = self.kept_items**-2 if self.sparse_relative else 1.0
        return self.sparse_threshold * unit

    def _of_images_alone(self) -> Iterator[str]:
        """Names of options that differ from their default and apply to image classifiers only."""
        for key in _OF_IMAGES:
            if getattr(self, key) != type(self).model_fields[key].default:
                yield key
        for key, value in CetData():
            if key not in DataConfig.model_fields and getattr(self.data, key) != value:
                yield f"data.{key}"

    def rules(self) -> Iterator[Rule]:
        """Combinations of options that are refused."""
        yield from self._rules_of_traces()
        yield from self._rules_of_streams()
        yield from self._rules_of_carry()
        yield from self._rules_of_parts()
        yield from self._rules_of_control()

    def _rules_of_traces(self) -> Iterator[Rule]:
        """Rules on what a trace stores, and on options of one timescale only."""
        yield Rule(
            ("threshold", "binary"),
            self.threshold is not None and self.binary is not None,
            "`threshold` and `binary` exclude each other: a trace stores one or the other",
            "leave one of them at null",
        )
        yield Rule(
            ("theta_threshold", "effective_batch", "timescale"),
            self.timescale == "behavioural"
            and (self.theta_threshold > 0 or self.effective_batch is not None),
            "`theta_threshold` and `effective_batch` apply on the retrograde timescale only",
            "leave them out, or set `timescale` to retrograde",
        )

    def _rules_of_streams(self) -> Iterator[Rule]:
        """Rules on streams: they consist of whole groups and are longer than the delay."""
        yield Rule(
            ("data.layout", "data.dataset"),
            self.data.layout is not None and not is_npz(self.data.dataset),
            f"`data.layout` applies to pictures of an .npz file only, and `data.dataset` is "
            f"{self.data.dataset}",
            "leave it out",
        )
        grain = self.data.n_groups * self.data.interp_factor
        yield Rule(
            ("batch_size", "data.n_groups", "data.interp_factor"),
            self.batch_size % grain != 0,
            f"`batch_size` {self.batch_size} is no multiple of `data.n_groups` x "
            f"`data.interp_factor` = {grain}",
            f"set `batch_size` to {math.ceil(self.batch_size / grain) * grain}, say",
        )
        yield Rule(
            ("delay", "batch_size", "carry"),
            self.delay >= self.batch_size and not self.carry and self.taps is None,
            f"`delay` {self.delay} is not below `batch_size` {self.batch_size}: every error would "
            "arrive after the end of its stream",
            "lower `delay`, raise `batch_size`, or set `carry` to true, which loses none",
        )

    def _rules_of_carry(self) -> Iterator[Rule]:
        """Rules on `carry`, with which streams continue from one batch to the next."""
        yield Rule(
            ("carry", "top_quantile"),
            self.carry and self.top_quantile > 0,
            "`carry` and `top_quantile` exclude each other: `carry` needs every item of a stream",
            "set `carry` to false or `top_quantile` to 0",
        )
        yield Rule(
            ("carry", "timescale"),
            self.carry and self.timescale == "retrograde",
            "`carry` has no effect on the retrograde timescale, where no error is lost",
            "set `carry` to false",
        )
        yield Rule(
            ("carry", "engine.accumulation"),
            self.carry and self.engine.accumulation > 1,
            "`carry` needs `engine.accumulation` 1: all parts of a batch would share one history",
            "set `engine.accumulation` to 1 or `carry` to false",
        )
        yield Rule(
            ("carry", "engine.nonfinite"),
            self.carry and self.engine.nonfinite == "skip",
            "`carry` needs `engine.nonfinite` stop: the values of a skipped step would be carried "
            "on",
            "set `engine.nonfinite` to stop or `carry` to false",
        )

    def _rules_of_parts(self) -> Iterator[Rule]:
        """Rules on learning from a part of the items (`top_quantile`)."""
        yield Rule(
            ("input_accumulation", "random_times", "bn_from", "top_quantile"),
            self.top_quantile == 0
            and (self.input_accumulation > 1 or self.random_times or self.bn_from == "full"),
            "`input_accumulation`, `random_times` and `bn_from` have an effect only in runs that "
            "learn from a part of their items",
            "set `top_quantile` above 0, or leave them out",
        )
        yield Rule(
            ("input_accumulation", "batch_size"),
            self.batch_size % self.input_accumulation != 0,
            f"`batch_size` {self.batch_size} cannot be cut into `input_accumulation` "
            f"{self.input_accumulation} equal parts",
            "set `input_accumulation` to a divisor of `batch_size`",
        )
        yield Rule(
            ("bn_from", "arch", "norm_op"),
            self.bn_from == "full" and (self.arch != "cnn" or self.norm_op != "batch"),
            "`bn_from` full needs a cnn with `norm_op` batch, the only one with batch statistics",
            "leave `bn_from` at kept",
        )
        yield Rule(
            ("top_quantile", "batch_size", "input_accumulation"),
            self.kept_items < 2,
            f"`top_quantile` {self.top_quantile} keeps one item of {self.batch_size}, and an error "
            "needs the trace of another item",
            "lower `top_quantile` or raise `batch_size`",
        )

    def _rules_of_control(self) -> Iterator[Rule]:
        """Rules on reinforcement learning, which uses no images."""
        yield Rule(
            ("control",),
            self.control.environment is None and self.control != Control(),
            "`control` has options set, but there is no environment to act in",
            "set `control.environment`, or leave them out",
        )
        of_images = list(self._of_images_alone())
        yield Rule(
            ("control.environment", *(of_images or (*_OF_IMAGES, "data"))),
            self.control.environment is not None and bool(of_images),
            f"`control.environment` is {self.control.environment}, but these options are "
            f"for image classifiers only: {', '.join(of_images)}",
            "leave out one or the other",
        )


def parallel(config: Config) -> Parallel:
    """What of a batch may be split over processes: whole streams.

    Nothing may be split in the covariance form, whose running mean of the activity is taken over
    the whole batch, or in reinforcement learning, where one process holds the environments.
    """
    whole = config.covariance is not None or config.control.environment is not None
    return "none" if whole else "streams"
