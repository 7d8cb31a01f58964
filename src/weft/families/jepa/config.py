"""Options of a jepa run: the moving dots, what is trained on them, and how it is scored."""

from __future__ import annotations

from collections.abc import Iterator
from typing import Any, Literal, get_args

from pydantic import Field, model_validator

from weft.config.base import FamilyConfig
from weft.config.cadence import Cadence
from weft.config.rule import Rule
from weft.config.section import KindConfig
from weft.config.sections import EvalConfig, LogConfig
from weft.families.jepa.options.needs import NEEDS
from weft.families.jepa.options.sections import (
    Clean,
    Combo,
    Idm,
    Lars,
    ModelConfig,
    Probe,
    Rssm,
    Simclr,
    Supervised,
    Terms,
    Vicreg,
)

Noise = Literal["fixed_uniform", "fixed_structured", "changing_uniform", "changing_structured"]
Objective = Literal["vicreg", "simclr", "rssm", "idm", "supervised", "random", "combo"]


class JepaEval(EvalConfig):
    """When the read-out is fitted and scored: every 20 epochs by default, as in the original."""

    every: Cadence = Field("20 epochs", description="How often; always after the last step.")


class Config(FamilyConfig):
    """World models of moving dots, scored by the positions read out of their codes."""

    needs = NEEDS

    family: Literal["jepa"] = Field("jepa", description="Which family trains.")
    batch_size: int = Field(128, ge=2, description="Sequences in a training batch.")
    objective: Objective = Field(
        "vicreg", description="What is trained; combo weighs `terms`, random trains nothing."
    )

    n_steps: int = Field(17, ge=2, description="Frames of a training sequence.")
    val_n_steps: int = Field(17, ge=2, description="Frames of a sequence of the probe.")
    dataset_size: int = Field(10000, ge=1, description="Training sequences of an epoch.")
    val_dataset_size: int = Field(10000, ge=1, description="Sequences the probe is scored on.")
    dataset_type: Literal["Single", "Multiple"] = Field(
        "Single", description="One dot, or three: two that move and one that stays."
    )
    dataset_dot_std: float = Field(
        1.3, gt=0, lt=6, description="Standard deviation of a dot in pixels."
    )
    dataset_rooms: Literal[1, 2] = Field(
        1, description="Rooms: the open square, or two with a wall and a door between them."
    )
    dataset_door: float = Field(
        6.0, gt=0, lt=20, description="Width of the door between two rooms in pixels."
    )
    dataset_noise: float = Field(
        0.0, ge=0, description="Brightness of a background drawn anew for each frame."
    )
    dataset_static_noise: float = Field(
        0.0, ge=0, description="Brightness of a background that stays for the whole sequence."
    )
    dataset_structured_noise: bool = Field(
        False, description="Whether backgrounds are CIFAR-10 pictures instead of uniform noise."
    )
    dataset_static_noise_speed: float = Field(
        0.0, ge=0, description="Pixels a frame by which the staying background rolls sideways."
    )
    noise: Noise | None = Field(
        None,
        description="The paper's four kinds of noise in one word; stands for the keys above.",
    )
    noise_level: float = Field(1.0, ge=0, description="Brightness of the background of `noise`.")
    noise_scale: Literal["constant", "batch"] = Field(
        "constant",
        description="Unit of brightness: a dot's peak, or the brightest pixel of the clean batch.",
    )
    dataset_normalize: bool = Field(
        True, description="Whether pixels, positions and actions are brought to unit variance."
    )
    norm_batches: int = Field(
        100, ge=1, description="Batches over which mean and deviation of the pixels are averaged."
    )

    model: ModelConfig = Field(ModelConfig(), description="Encoder and forward model.")
    vicreg: Vicreg = Field(Vicreg(), description="Objective vicreg.")
    simclr: Simclr = Field(Simclr(), description="Objective simclr.")
    rssm: Rssm = Field(Rssm(), description="Objective rssm.")
    idm: Idm = Field(Idm(), description="Objective idm.")
    supervised: Supervised = Field(Supervised(), description="Objective supervised.")
    terms: Terms = Field(Terms(), description="Weights of objective combo.")
    combo: Combo = Field(Combo(), description="Options of objective combo.")
    probe: Probe = Field(Probe(), description="Read-out of positions.")
    diagnostics: Literal["off", "brief", "full"] = Field(
        "brief",
        description="What logged steps say of the codes: nothing; spread, redundancy and static "
        "share over all frames; full, also of single frames.",
    )

    optim: KindConfig = Field(Lars(), description="Optimiser.")
    schedule: KindConfig = Field(Clean(), description="Learning rate over time.")
    eval: EvalConfig = Field(JepaEval(), description="Evaluation.")
    log: LogConfig = Field(LogConfig(every=100), description="Logging.")

    @property
    def num_dots(self) -> int:
        """K, the number of dots in a scene."""
        return 1 if self.dataset_type == "Single" else 3

    @property
    def num_frames(self) -> int:
        """Frames of a training sequence, with those of the burn-in."""
        return self.n_steps + self.model.rnn_burnin - 1

    @property
    def val_num_frames(self) -> int:
        """Frames of a sequence of the probe, with those of the burn-in."""
        return self.val_n_steps + self.model.rnn_burnin - 1

    @property
    def uses_backgrounds(self) -> bool:
        """Whether CIFAR-10 is needed."""
        bright = self.dataset_noise > 0 or self.dataset_static_noise > 0
        return self.dataset_structured_noise and bright

    @property
    def background_split(self) -> Literal["train", "test"]:
        """The split of CIFAR-10 used as backgrounds of the training set."""
        return self.supervised.backgrounds if self.objective == "supervised" else "train"

    @property
    def probe_batch_size(self) -> int:
        """Sequences in a batch of the probe."""
        return self.probe.batch_size or self.batch_size

    @model_validator(mode="before")
    @classmethod
    def _spell_out_noise(cls, values: Any) -> Any:
        """Replaces `noise` and `noise_level` by the three keys they stand for.

        If both are given, nothing is replaced, and a rule refuses the config.
        """
        if not isinstance(values, dict) or values.get("noise") not in get_args(Noise):
            return values
        if values.get("dataset_noise") or values.get("dataset_static_noise"):
            return values
        place, _, kind = values["noise"].partition("_")
        level = {"fixed": "dataset_static_noise", "changing": "dataset_noise"}[place]
        return values | {
            "noise": None,
            "noise_level": 1.0,
            level: values.get("noise_level", 1.0),
            "dataset_structured_noise": kind == "structured",
        }

    def rules(self) -> Iterator[Rule]:
        """Combinations of options that are refused."""
        yield from self._rules_of_scenes()
        yield from self._rules_of_training()

    def _rules_of_scenes(self) -> Iterator[Rule]:
        yield Rule(
            ("noise", "dataset_noise", "dataset_static_noise"),
            self.noise is not None,  # removed above, unless all were given
            "`noise` already sets `dataset_noise` and `dataset_static_noise`",
            "set either `noise` and `noise_level`, or `dataset_noise` and `dataset_static_noise`",
        )
        yield Rule(
            ("model.channels", "dataset_type"),
            self.model.channels == 3 and self.num_dots == 1,
            "`model.channels` 3 gives each of three dots its own, but there is one dot",
            "set `dataset_type` to Multiple or `model.channels` to 1",
        )
        yield Rule(
            ("dataset_rooms", "dataset_type"),
            self.dataset_rooms == 2 and self.num_dots > 1,
            "`dataset_rooms` 2 has a wall for one dot, and there are three",
            "set `dataset_type` to Single or `dataset_rooms` to 1",
        )

    def _rules_of_training(self) -> Iterator[Rule]:
        yield Rule(
            ("model.rnn_burnin", "model.predictor"),
            self.model.rnn_burnin > 1 and not self.model.predictor.startswith("rnn"),
            "`model.rnn_burnin` above 1 needs `model.predictor` rnn",
            "set `model.predictor` to rnn or `model.rnn_burnin` to 1",
        )
        yield Rule(
            ("batch_size", "dataset_size"),
            self.batch_size > self.dataset_size,
            f"`batch_size` {self.batch_size} must not exceed `dataset_size` {self.dataset_size}",
            "lower `batch_size` or raise `dataset_size`",
        )
        yield Rule(
            ("objective", "terms"),
            self.objective == "combo" and not self.terms.weights(),
            "`objective` combo needs a weight above 0 in `terms`",
            "set one, such as terms.forward=1",
        )
        yield Rule(
            ("objective", "model.predictor"),
            self.objective == "rssm" and self.model.predictor != "rnn",
            "`objective` rssm brings its own forward model",
            "leave `model.predictor` at rnn",
        )
        yield Rule(
            ("objective", "model.swap_ground"),
            self.objective in ("rssm", "random") and self.model.swap_ground > 0,
            f"`objective` {self.objective} has no rollout to start from another ground",
            "leave `model.swap_ground` at 0",
        )
        yield Rule(
            ("probe.prober_arch", "probe.kind"),
            bool(self.probe.prober_arch) and self.probe.kind == "closed_form",
            "`probe.prober_arch` has no closed form",
            "set `probe.kind` to published, or leave `probe.prober_arch` empty",
        )
