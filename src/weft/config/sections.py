"""Sections that every run has, and the kinds of optimiser, schedule and clip that weft ships."""

from __future__ import annotations

from typing import Annotated, Literal

from pydantic import Field

from weft.config.cadence import Cadence, Span
from weft.config.paths import CleanPath, FolderName, MayBePath
from weft.config.section import KindConfig, Section


class DataConfig(Section):
    """Where data are found. Families extend this section with what they read."""

    root: Annotated[CleanPath, MayBePath()] | None = Field(
        None, description="Folder to look for data sets in before $WEFT_DATA and the cache."
    )
    download: bool = Field(
        True, description="Whether a missing data set may be downloaded (checksum verified)."
    )


Layout = Literal["channels_first", "channels_last"]
LAYOUT = (
    "Order of the axes of an .npz file's pictures, (N, C, H, W) or (N, H, W, C); needed if their "
    "shape could be either."
)


class Sgd(KindConfig):
    """Stochastic gradient descent."""

    kind: Literal["sgd"] = "sgd"
    lr: float = Field(1e-2, gt=0, description="Peak learning rate.")
    momentum: float = Field(0.0, ge=0, lt=1, description="Momentum; 0 is plain SGD.")
    nesterov: bool = Field(False, description="Whether momentum looks ahead (Nesterov).")
    weight_decay: float = Field(0.0, ge=0, description="L2 penalty added to the gradient.")


class Adam(KindConfig):
    """Adam (Kingma & Ba 2015) with L2 added to the gradient."""

    kind: Literal["adam"] = "adam"
    lr: float = Field(1e-3, gt=0, description="Peak learning rate.")
    beta1: float = Field(0.9, ge=0, lt=1, description="Decay of the first moment.")
    beta2: float = Field(0.999, ge=0, lt=1, description="Decay of the second moment.")
    eps: float = Field(1e-8, gt=0, description="Added to the root of the second moment.")
    weight_decay: float = Field(0.0, ge=0, description="L2 penalty added to the gradient.")


class AdamW(KindConfig):
    """Adam with decoupled weight decay (Loshchilov & Hutter 2019)."""

    kind: Literal["adamw"] = "adamw"
    lr: float = Field(1e-3, gt=0, description="Peak learning rate.")
    beta1: float = Field(0.9, ge=0, lt=1, description="Decay of the first moment.")
    beta2: float = Field(0.999, ge=0, lt=1, description="Decay of the second moment.")
    eps: float = Field(1e-8, gt=0, description="Added to the root of the second moment.")
    weight_decay: float = Field(1e-2, ge=0, description="Weights shrink by this times lr a step.")


class Extra(KindConfig):
    """Any optimiser of the package pytorch-optimizer, by its name there: `optim.kind=extra:NAME` is
    short for `optim.kind=extra optim.name=NAME`."""

    kind: Literal["extra"] = "extra"
    name: str = Field(description="Name in that package, such as lion, soap or muon.")
    lr: float = Field(1e-3, gt=0, description="Peak learning rate.")
    weight_decay: float = Field(0.0, ge=0, description="Weight decay, as that optimiser means it.")
    options: dict[str, bool | int | float | str | list[float]] = Field(
        {}, description="Its further arguments by name, such as {betas: [.9, .99]}."
    )


class Constant(KindConfig):
    """The learning rate stays at its peak after a linear warm-up."""

    kind: Literal["constant"] = "constant"
    warmup: float = Field(0.0, ge=0, lt=1, description="Share of all steps spent warming up.")


class Cosine(KindConfig):
    """Linear warm-up, then half a cosine down to `min_lr` times the peak."""

    kind: Literal["cosine"] = "cosine"
    warmup: float = Field(0.05, ge=0, lt=1, description="Share of all steps spent warming up.")
    min_lr: float = Field(0.1, ge=0, le=1, description="Floor, as a share of the peak.")
    zero_first: bool = Field(
        False, description="Whether warm-up starts at 0 (the first update does nothing)."
    )


class Plateau(KindConfig):
    """Cuts the learning rate when the training loss stops falling."""

    kind: Literal["plateau"] = "plateau"
    factor: float = Field(0.5, gt=0, lt=1, description="Multiplied into the rate at a plateau.")
    patience: int = Field(20, ge=0, description="Averages without improvement to wait for.")
    window: int = Field(50, ge=1, description="Steps averaged into one observation.")
    rtol: float = Field(1e-4, ge=0, description="Relative gain that counts as improvement.")
    min_lr: float = Field(1e-2, ge=0, le=1, description="Floor, as a share of the peak.")


class HeldOut(KindConfig):
    """Cuts the learning rate when the metric that selects the best weights stops improving."""

    kind: Literal["held_out"] = "held_out"
    factor: float = Field(0.5, gt=0, lt=1, description="Multiplied into the rate at a plateau.")
    patience: int = Field(
        5, ge=1, description="Evaluations in a row without improvement before a cut."
    )
    margin: float = Field(
        1e-4, ge=0, description="Gain over the best, in the metric's unit, that does not count."
    )
    min_lr: float = Field(1e-3, ge=0, le=1, description="Floor, as a share of the peak.")


class NoClip(KindConfig):
    """Leaves gradients unchanged."""

    kind: Literal["none"] = "none"


class NormClip(KindConfig):
    """Scales all gradients so that their joint Euclidean norm is at most `max_norm`."""

    kind: Literal["norm"] = "norm"
    max_norm: float = Field(1.0, gt=0, description="Largest allowed norm.")


class ValueClip(KindConfig):
    """Clamps each gradient entry to [-limit, limit]."""

    kind: Literal["value"] = "value"
    limit: float = Field(1.0, gt=0, description="Largest allowed magnitude of an entry.")


class EvalConfig(Section):
    """When and how the model is evaluated while it trains."""

    every: Cadence = Field("1 epoch", description="How often; always after the last step.")
    batch_size: int = Field(128, ge=1, description="Items evaluated at once.")
    patience: int | None = Field(
        None,
        ge=1,
        description="Evaluations in a row without better weights that end the run; none if unset.",
    )
    ema: float | None = Field(
        None,
        gt=0,
        lt=1,
        description="Decay per step of a running mean of the weights; this mean is then "
        "evaluated, selected, exported and started from. None if unset.",
    )


class CheckpointConfig(Section):
    """What is saved, and how much of it is kept."""

    every: Cadence = Field(
        "1 epoch", description="How often a checkpoint is saved; the last step always is."
    )
    keep: int = Field(2, ge=1, description="Number of newest checkpoints that are kept.")
    keep_every: Cadence | None = Field(
        None, description="Checkpoints at multiples of this are kept for good."
    )


class WandbConfig(Section):
    """Weights & Biases, which scalars can also go to."""

    mode: Literal["disabled", "offline", "online"] = Field(
        "disabled", description="Whether scalars also go to W&B."
    )
    project: str = Field("weft", description="Project the run is filed under.")


class MlflowConfig(Section):
    """MLflow, which scalars can also go to."""

    experiment: str | None = Field(
        None, description="Experiment that scalars also go to; none if unset."
    )
    uri: str | None = Field(
        None, description="Tracking server or sqlite file; MLflow's own default if unset."
    )


class TrackioConfig(Section):
    """Trackio, which scalars can also go to."""

    project: str | None = Field(None, description="Project that scalars also go to; none if unset.")


class LogConfig(Section):
    """What is written down while training."""

    every: int = Field(50, ge=1, description="Steps between rows of metrics.jsonl.")
    tensorboard: bool = Field(True, description="Whether TensorBoard files are written too.")
    histograms: Cadence | None = Field(
        None, description="How often TensorBoard gets histograms of the weights; never if unset."
    )
    wandb: WandbConfig = Field(WandbConfig(), description="Weights & Biases.")
    mlflow: MlflowConfig = Field(MlflowConfig(), description="MLflow.")
    trackio: TrackioConfig = Field(TrackioConfig(), description="Trackio.")


class EngineConfig(Section):
    """How the arithmetic is carried out; none of it changes what is computed."""

    device: str = Field(
        "auto",
        description="auto (cuda where there is one, else cpu), cpu, cuda, cuda:N or mps.",
    )
    threads: int | None = Field(
        None, ge=1, le=1024, description="CPU threads; if unset, one or all, as steps are faster."
    )
    precision: Literal["fp32", "tf32", "bf16"] = Field(
        "fp32",
        description="bf16 computes under autocast and keeps fp32 master weights; tf32 rounds the "
        "factors of products to 10 bits, on GPUs that do so faster.",
    )
    compile: bool = Field(False, description="Whether the model is compiled by torch.compile.")
    graph: bool = Field(
        False,
        description="Whether loss and gradients of steps that are not logged are replayed from one "
        "recorded CUDA graph; on other devices, and among several processes, it does nothing.",
    )
    profile: Span | None = Field(
        None,
        description="Steps, such as 10:20, whose operators are timed: the run's profile.json opens "
        "in Chrome or Perfetto, profile.txt lists the costliest; none if unset.",
    )
    accumulation: int = Field(
        1, ge=1, description="Parts a batch is split into, one after another, to save memory."
    )
    shard: bool = Field(
        False,
        description="Whether each process started by torchrun holds only a piece of the weights, "
        "gradients and moments; with one process it does nothing.",
    )
    nonfinite: Literal["stop", "skip"] = Field(
        "stop", description="What is done if a loss or gradient is NaN or infinite."
    )
    max_skips: int = Field(10, ge=1, description="Skipped updates in a row that the run survives.")
    timeout: float = Field(
        1800.0, gt=0, description="Seconds that a process of a run waits for another one's answer."
    )


class RunSection(Section):
    """Where the run is written."""

    dir: CleanPath | None = Field(None, description="Exact directory; must not hold another run.")
    root: CleanPath = Field("runs", description="Folder under which <family>/<name> is made.")
    name: FolderName | None = Field(
        None, description="Name of the run; the preset's name if unset."
    )
    tags: tuple[str, ...] = Field((), description="Words to find the run by.")
    note: str = Field("", description="A sentence that says what the run is for.")
