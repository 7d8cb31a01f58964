"""Options of a warp run: the recurrence in weight space, its root network, the data, the losses."""

from __future__ import annotations

from collections.abc import Iterator
from typing import Annotated, Any, Literal

from pydantic import AfterValidator, Field, model_validator

from weft.config.paths import is_npz
from weft.config.rule import Rule
from weft.config.section import KindConfig
from weft.config.sections import AdamW, Cosine, NormClip
from weft.families.warp.options.bounds import rules_of_bounds, spelt_out
from weft.families.warp.options.needs import NEEDS
from weft.families.warp.options.originals import (
    FEEDING,
    OriginalOptions,
    feeds_back,
    rules_of_originals,
)
from weft.families.warp.options.query import ReadingOptions, rules_of_reading
from weft.families.warp.options.sections import COLLECTIONS, UNLABELLED, WITH_TARGET, WarpData
from weft.families.warp.options.transitions import SHAPES, KindName, rules_of_transition

Count = Annotated[int, Field(ge=1)]
Activation = Literal[
    "relu", "tanh", "sigmoid", "softplus", "swish", "identity", "sin", "cos"
]  # fmt: skip
Form = Literal["auto", "loop", "last_state", "chunked", "history", "sequential", "scan"]
Criterion = Literal["mse", "mae", "rmse", "nll", "cce", "error_rate", "f1_score"]
_OF_SEQUENCES = ("mse", "mae", "rmse", "nll")
_OF_LABELS = ("cce", "error_rate", "f1_score")


def _check_loss_steps(count: int) -> int:
    if count == 0 or count < -1:
        raise ValueError("expected a number of steps >= 1, or -1 for all")
    return count


class Config(ReadingOptions, OriginalOptions):
    """Sequence models whose state is the weight vector of a small network."""

    needs = NEEDS

    family: Literal["warp"] = Field("warp", description="Which family trains.")
    train: bool = Field(
        True, description="Only for papers/warp/train.py: false evaluates the newest run instead."
    )
    supervision_task: Literal["reconstruction", "classification", "both"] = Field(
        "reconstruction", description="What is learnt: the sequence, its label, or both."
    )
    model_type: Literal["wsm", "gru", "lstm", "linear", "ssm", "mlp", "dlinear"] = Field(
        "wsm",
        description="The weight-space model, or a baseline: GRU, LSTM, a linear recurrence with "
        "a fixed decoder, a diagonal state-space model; an MLP, DLinear from given steps to all.",
    )

    root: str = Field(
        "mlp",
        pattern=r"^(mlp|physics:[A-Za-z][\w-]*)$",
        description="What the weights are weights of: mlp, or physics:<name> for a formula, "
        "such as physics:sine, physics:msd, physics:msd-start and physics:oscillator.",
    )
    mlp_hidden_size: int = Field(24, ge=1, description="Units in a hidden layer of the root.")
    mlp_depth: int = Field(3, ge=0, description="Hidden layers of the root; 0 is one affine map.")
    root_activation: Activation = Field(
        "relu", description="Activation between layers of the root."
    )
    root_final_activation: (
        Activation
        | Annotated[float, Field(gt=0)]
        | tuple[float, float, float, float]
        | None
    ) = Field(
        "tanh",
        description="On the mean: a name (tanh becomes sigmoid under unit_normalise), c for a clip "
        "to [-c, c], [a, b, alpha, beta] for a learnt alpha tanh((x - b) / a) + beta, or null.",
    )  # fmt: skip
    root_output_dim: int | None = Field(
        None, ge=1, description="Outputs of the root; what loss and data ask for if unset."
    )
    input_prev_data: bool = Field(
        False, description="Whether the root also sees the data of the step before (AR) or of now."
    )
    positional_encoding: tuple[Count, Annotated[float, Field(gt=1)]] | None = Field(
        None, description="[p, c]: p sines and cosines of the step, base c, seen by the root."
    )
    include_canonical_coords: bool = Field(
        False,
        description="Whether the root sees the pixel's coordinates, and B the change of (t, x, y).",
    )
    std_additional_tanh: bool = Field(
        False, description="Whether a tanh precedes the softplus of the standard deviation."
    )
    std_lower_bound: float = Field(0.5, gt=0, description="Smallest standard deviation.")

    rnn_inner_dims: tuple[Count, ...] = Field(
        (), description="Channels between stacked weight-space layers; empty for one layer."
    )
    transition: KindName = Field("full", description=f"Shape of A: {SHAPES}.")
    transition_lr: Annotated[float, Field(gt=0)] | None = Field(
        None,
        description="Learning rate of A as a share of optim.lr. Unset: 1 / (how far a step of 1 "
        "moves A's spectrum, D for a full A), or 1 under optim.kind reference.",
    )
    use_theta_prev: bool = Field(
        False, description="Whether the weights keep their velocity: v' = A v + B dx."
    )
    weights_lim: float | None = Field(
        None, gt=0, description="Weights are clipped to [-c, c] after each update."
    )
    init_state_layers: Literal[0, 1, 2] | None = Field(
        None,
        description="Hidden layers of the network that makes the first weights of x_0; null for "
        "first weights that are themselves learnt.",
    )
    init_state_bias: bool = Field(
        True, description="Whether that network has biases; linear without, it is odd in x_0."
    )
    noise_theta_init: float = Field(
        0.0, ge=0, description="Deviation of noise added to the first weights while training."
    )
    noise_theta_test: bool = Field(
        False, description="Whether noise_theta_init also acts at inference, as in the original."
    )
    input_init_std: float = Field(
        0.0, ge=0, description="Deviation of the first entries of B; 1e-2 in the first code."
    )
    time_as_channel: bool = Field(False, description="Whether time is a channel of B's input.")
    conv_embedding: tuple[Count, Count, Literal[0, 1]] | None = Field(
        None,
        description="[channels, kernel, causal]: a convolution of the input before the recurrence.",
    )
    output_smoothing: bool = Field(
        False, description="Whether a learnt 3-tap filter runs over the outputs in time."
    )

    autoregressive: bool = Field(
        True,
        description="Whether training feeds predictions back (not in classification).",
    )
    stochastic: bool = Field(
        False, description="Whether a sample of the prediction is fed back, not its mean."
    )
    smooth_inference: bool = Field(
        True, description="Whether inference of a stochastic model feeds back the mean."
    )
    drive: Literal["diff", "innovation", "true_diff"] = Field(
        "diff",
        description="What moves the weights: the input minus the last one fed, minus the "
        "prediction of now (first code), or the true difference where the truth is fed.",
    )
    target: Literal["same", "next"] = Field(
        "same",
        description="Whether the output of step t is scored against x_t, which the step may have "
        "seen (the original), or against x_(t+1).",
    )
    grounding_length: int = Field(
        15, ge=1, description="True steps L given at inference; metrics count the steps >= L."
    )
    autoregressive_inference: bool = Field(
        True, description="False evaluates the last weights at every time: recall from memory."
    )
    form: Form = Field(
        "auto", description="How the recurrence is computed; never changes what is computed."
    )

    loss: Literal["mse", "nll"] = Field(
        "mse",
        description="mse: half the squared error; nll: the Gaussian likelihood of mean and std.",
    )
    cross_entropy_weight: float = Field(0.01, ge=0, description="Weight of the label's loss.")
    train_strategy: Literal["flip_coin", "teacher_forcing", "always_true", "grounded"] = Field(
        "flip_coin",
        description="What is fed in AR training: the truth with probability forcing_prob, a mix "
        "that drifts from truth to prediction, the truth, or what inference feeds: the truth for "
        "grounding_length steps, own predictions after, and the loss of these alone.",
    )
    forcing_prob: float = Field(
        0.9, ge=0, le=1, description="Probability that flip_coin feeds the truth at a step."
    )
    traj_train_prop: float = Field(
        1.0, gt=0, le=1, description="Share of the steps trained on, drawn anew; ends always kept."
    )
    nb_recons_loss_steps: Annotated[int, AfterValidator(_check_loss_steps)] = Field(
        -1, description="Steps drawn for the loss, with replacement; -1 for all."
    )
    unit_normalise: bool = Field(
        False, description="Whether data lie in [0, 1] with a sigmoid, not in [-1, 1] with a tanh."
    )
    val_criterion: Criterion | None = Field(
        None,
        description="Selects the best model; if unset mse, or error_rate in classification.",
    )
    gradient_lim: float | None = Field(
        None, gt=0, description="Each gradient entry is clipped to [-g, g]: clip.kind value."
    )
    lr_decrease_factor: float | None = Field(
        None,
        gt=0,
        lt=1,
        description="schedule.factor of the plateau kinds; no effect on other schedules.",
    )

    rnn_hidden_size: int | None = Field(
        None,
        ge=1,
        description="State width of a baseline; null for as many parameters as the weight-space "
        "model of the same options has.",
    )
    nb_rnn_layers: int = Field(1, ge=1, description="Layers of a baseline.")

    data: WarpData = Field(WarpData(), description="Data.")
    optim: KindConfig = Field(AdamW(lr=1e-3, beta2=0.99, weight_decay=0), description="Optimiser.")
    schedule: KindConfig = Field(
        Cosine(warmup=0.02, min_lr=0.01), description="Learning rate over time."
    )
    clip: KindConfig = Field(NormClip(max_norm=1.0), description="Bound on gradients.")

    @property
    def classifies(self) -> bool:
        """Whether a label is learnt."""
        return self.supervision_task != "reconstruction"

    @property
    def reconstructs(self) -> bool:
        """Whether a sequence is learnt."""
        return self.supervision_task != "classification"

    @property
    def feeds_back(self) -> bool:
        """Whether training runs on the model's own predictions (M2 and M3), not freely (M1)."""
        return feeds_back(dict(self))

    @property
    def criterion(self) -> Criterion:
        """What chooses the best model; smaller is better except for f1_score."""
        return self.val_criterion or ("mse" if self.reconstructs else "error_rate")

    @property
    def mean_activation(self) -> str | float | tuple[float, float, float, float] | None:
        """`root_final_activation` on the scale of the data."""
        chosen = self.root_final_activation
        return "sigmoid" if self.unit_normalise and chosen == "tanh" else chosen

    @property
    def cautions(self) -> tuple[str, ...]:
        """What a reader of the results must know of the protocol, a sentence each."""
        own_target = self.data.dataset in WITH_TARGET
        # Without feedback the input of a forecast is its past, and so the target is another
        # sequence.
        apart = own_target or self.data.dataset == "ett" or self.target == "next"
        looks_ahead = bool(self.conv_embedding and not self.conv_embedding[2])
        notes = {
            "the output of step t is scored against x_t, which the step has consumed when the "
            "truth is fed: target=next is one-step-ahead prediction": (
                self.feeds_back and self.target == "same" and not own_target
            ),
            "without feedback the model sees the very value it is scored against: training copies, "
            "target=next predicts": self.reconstructs
            and not self.autoregressive
            and not apart
            and self.read == "steps",
            "the convolution looks ahead: outputs depend on later inputs": (
                self.reconstructs and (looks_ahead or self.output_smoothing)
            ),
        }
        return tuple(note for note, holds in notes.items() if holds)

    @model_validator(mode="before")
    @classmethod
    def _spell_out_bounds(cls, values: Any) -> Any:
        return spelt_out(values, cls.model_fields["clip"].default)

    def rules(self) -> Iterator[Rule]:
        """What options of warp must not be together."""
        yield from self._rules_of_training()
        yield from self._rules_of_feeding()
        yield from self._rules_of_form()
        yield from self._rules_of_model()
        yield from self._rules_of_data()
        yield from rules_of_bounds(dict(self))
        yield from rules_of_reading(dict(self))
        yield from rules_of_transition(dict(self))
        yield from rules_of_originals(dict(self))

    def _rules_of_training(self) -> Iterator[Rule]:
        yield Rule(
            ("train",),
            not self.train,
            "`train` false evaluates a run that exists",
            "`weft evaluate RUN`, or papers/warp/train.py",
        )
        yield Rule(
            ("stochastic", "loss"),
            self.stochastic and self.loss == "mse",
            "`stochastic` draws from a mean and a deviation, but the loss knows no deviation",
            "set `loss` to nll",
        )
        yield Rule(
            ("val_criterion", "loss"),
            self.val_criterion == "nll" and self.loss == "mse",
            "`val_criterion` nll is computed under `loss` nll alone",
            "set `loss` to nll",
        )
        scored = (*_OF_SEQUENCES * self.reconstructs, *_OF_LABELS * self.classifies)
        yield Rule(
            ("val_criterion", "supervision_task"),
            self.val_criterion not in (None, *scored),
            f"`val_criterion` {self.val_criterion} does not fit `supervision_task` "
            f"{self.supervision_task}",
            f"set it to one of {', '.join(scored)}",
        )
        yield Rule(
            ("train_strategy", "traj_train_prop"),
            self.train_strategy == "grounded" and self.traj_train_prop < 1,
            "`train_strategy` grounded counts steps, and `traj_train_prop` leaves some out",
            "set `traj_train_prop` to 1, or choose another `train_strategy`",
        )

    def _rules_of_feeding(self) -> Iterator[Rule]:
        needing = {
            "stochastic": (True, "`stochastic` feeds samples back"),
            "drive": ("innovation", "`drive` innovation is the input minus its prediction"),
        }
        for key, (value, meaning) in needing.items():
            yield Rule(
                (key, *FEEDING),
                getattr(self, key) == value and not self.feeds_back,
                f"{meaning}: it needs a reconstruction that feeds back",
                "set `autoregressive` true, and `supervision_task` to reconstruction or both",
            )
        yield Rule(
            ("conv_embedding", "output_smoothing", *FEEDING),
            bool(self.conv_embedding or self.output_smoothing) and self.feeds_back,
            "`conv_embedding` and `output_smoothing` need all steps at once",
            "set `autoregressive` false",
        )

    def _rules_of_form(self) -> Iterator[Rule]:
        yield Rule(
            ("form", "weights_lim"),
            self.form in ("last_state", "chunked", "history", "scan")
            and self.weights_lim is not None,
            f"`form` {self.form} cannot clip weights",
            "set `form` to auto, or `weights_lim` to null",
        )
        yield Rule(
            ("form", "rnn_inner_dims", *FEEDING),
            self.form not in ("auto", "loop") and bool(self.rnn_inner_dims) and self.feeds_back,
            f"`form` {self.form} is for one layer: a stack that feeds back runs as loop",
            "set `form` to auto, or leave `rnn_inner_dims` empty",
        )
        yield Rule(
            ("form", "transition"),
            self.form == "scan" and self.transition == "full",
            f"`form` scan is for a structured `transition`, not {self.transition}",
            "set `form` to auto, or choose another `transition`",
        )
        yield Rule(
            ("form", "supervision_task"),
            self.form in ("last_state", "chunked") and self.reconstructs,
            f"`form` {self.form} yields the last state only, and a sequence is learnt",
            "set `form` to auto, or `supervision_task` to classification",
        )

    def _rules_of_model(self) -> Iterator[Rule]:
        baseline = self.model_type != "wsm"
        yield Rule(
            ("model_type", "root", "rnn_inner_dims", "use_theta_prev"),
            baseline and (bool(self.rnn_inner_dims) or self.use_theta_prev or self.root != "mlp"),
            f"`model_type` {self.model_type} has no weights that move: `root`, `rnn_inner_dims` "
            "and `use_theta_prev` are wsm's",
            "leave them out, or set `model_type` to wsm",
        )
        yield Rule(
            ("model_type", "autoregressive_inference"),
            baseline and not self.autoregressive_inference,
            f"`model_type` {self.model_type} has no weights to ask afterwards",
            "set `autoregressive_inference` to true",
        )
        yield Rule(
            ("root", "supervision_task"),
            self.root != "mlp" and self.classifies,
            f"`root` {self.root} describes a sequence, not a label",
            "set `supervision_task` to reconstruction",
        )
        yield Rule(
            ("init_state_bias", "init_state_layers"),
            not self.init_state_bias and self.init_state_layers is None,
            "`init_state_bias` false is about the network that makes the first weights, and there "
            "is none",
            "set `init_state_layers` to 0, 1 or 2",
        )
        sums = (
            (self.drive, self.target, self.transition) == ("true_diff", "next", "full")
            and self.init_state_layers is None
            and not self.use_theta_prev
        )
        yield Rule(
            ("root", "drive", "target", "transition", "init_state_layers", "use_theta_prev"),
            self.root == "physics:oscillator" and not sums,
            "`root` physics:oscillator keeps running sums of true differences and foretells the "
            "next step",
            "set `drive` true_diff, `target` next, `transition` full, `init_state_layers` null and "
            "`use_theta_prev` false",
        )

    def _rules_of_data(self) -> Iterator[Rule]:
        dataset = self.data.dataset
        yield Rule(
            ("data.layout", "data.dataset"),
            self.data.layout is not None and not is_npz(dataset),
            "`data.layout` applies to pictures of an .npz file only, and `data.dataset` is "
            f"{dataset}",
            "leave it out",
        )
        yield Rule(
            ("data.dataset", "supervision_task"),
            self.classifies and dataset in UNLABELLED,
            f"`data.dataset` {dataset} has no labels",
            "set `supervision_task` to reconstruction",
        )
        yield Rule(
            ("data.dataset", "data.subset"),
            dataset in COLLECTIONS and self.data.subset is None,
            f"`data.dataset` {dataset} is a collection",
            "name its member in `data.subset`",
        )
        yield Rule(
            ("data.scale", "data.dataset", "unit_normalise"),
            self.data.scale == "deviation" and (dataset != "ett" or self.unit_normalise),
            "`data.scale` deviation is a scale of ett, and leaves it in no fixed range",
            "leave it out, or set `data.dataset` to ett and `unit_normalise` to false",
        )
        yield Rule(
            ("include_canonical_coords", "data.dataset", "data.image_datasets"),
            self.include_canonical_coords and dataset not in self.data.image_datasets,
            "`include_canonical_coords` needs steps that are pixels",
            f"add {dataset} to `data.image_datasets` if its steps are",
        )
