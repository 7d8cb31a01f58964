"""What options cannot be together, and what to know of a protocol that can."""

from __future__ import annotations

from collections.abc import Mapping
from typing import TYPE_CHECKING

from weft.families.warp.options.sections import UNLABELLED, WITH_TARGET

if TYPE_CHECKING:
    from weft.families.warp.config import Config


def broken(config: Config) -> list[str]:
    """The rules that a config breaks, a sentence each."""
    return [sentence for sentence, is_broken in _rules(config).items() if is_broken]


def cautions(config: Config) -> tuple[str, ...]:
    """What a reader of a config's results must know of its protocol, a sentence each."""
    own_target = config.data.dataset in WITH_TARGET
    # Without feedback the input of a forecast is its past, and so the target is another sequence.
    apart = own_target or config.data.dataset == "ett" or config.target == "next"
    looks_ahead = bool(config.conv_embedding and not config.conv_embedding[2])
    notes = {
        "the output of step t is scored against x_t, which the step has consumed when the "
        "truth is fed: target=next is one-step-ahead prediction": (
            config.feeds_back and config.target == "same" and not own_target
        ),
        "without feedback the model sees the very value it is scored against: training copies, "
        "target=next predicts": config.reconstructs and not config.autoregressive and not apart,
        "the convolution looks ahead: outputs depend on later inputs": (
            config.reconstructs and (looks_ahead or config.output_smoothing)
        ),
    }
    return tuple(note for note, holds in notes.items() if holds)


def _rules(config: Config) -> Mapping[str, bool]:
    """Sentence -> whether the config breaks it."""
    special = bool(config.rnn_inner_dims) or config.use_theta_prev or config.root != "mlp"
    given = config.val_criterion
    return {
        "`train` false evaluates a run that exists: `weft evaluate RUN`, or "
        "papers/warp/train.py": not config.train,
        "`stochastic` draws from a mean and a deviation: set `loss` to nll": (
            config.stochastic and config.loss == "mse"
        ),
        "`stochastic` feeds samples back: it needs `autoregressive` true and a "
        "reconstruction": config.stochastic and not config.feeds_back,
        "`drive` innovation is the input minus its prediction: it needs `autoregressive` true "
        "and a reconstruction": config.drive == "innovation" and not config.feeds_back,
        "`conv_embedding` and `output_smoothing` need all steps at once: set `autoregressive` "
        "false": bool(config.conv_embedding or config.output_smoothing) and config.feeds_back,
        f"`form` {config.form} cannot clip weights: set `form` to auto, or `weights_lim` to "
        "null": config.weights_lim is not None
        and config.form in ("last_state", "chunked", "history", "scan"),
        f"`form` {config.form} is for one layer: a stack that feeds back runs as loop": (
            bool(config.rnn_inner_dims)
            and config.feeds_back
            and config.form not in ("auto", "loop")
        ),
        f"`form` scan is for a structured `transition`, not {config.transition}": (
            config.form == "scan" and config.transition == "full"
        ),
        f"`form` {config.form} yields the last state only: it needs `supervision_task` "
        "classification": config.form in ("last_state", "chunked") and config.reconstructs,
        f"`model_type` {config.model_type} has no weights that move: `root`, `rnn_inner_dims` "
        "and `use_theta_prev` are wsm's": config.model_type != "wsm" and special,
        f"`model_type` {config.model_type} has no weights to ask afterwards: set "
        "`autoregressive_inference` to true": (
            config.model_type != "wsm" and not config.autoregressive_inference
        ),
        f"`root` {config.root} describes a sequence, not a label: set `supervision_task` to "
        "reconstruction": config.root != "mlp" and config.classifies,
        "`init_state_bias` false is about the network that makes the first weights: set "
        "`init_state_layers`": not config.init_state_bias and config.init_state_layers is None,
        "`root` physics:oscillator sums true differences and foretells the next step: it needs "
        "`drive` true_diff, `target` next, `transition` full, `init_state_layers` null and "
        "`use_theta_prev` false": config.root == "physics:oscillator" and not _sums(config),
        f"`data.dataset` {config.data.dataset} has no labels: set `supervision_task` to "
        "reconstruction": config.classifies and config.data.dataset in UNLABELLED,
        f"`include_canonical_coords` needs pixels: add {config.data.dataset} to "
        "`data.image_datasets` if its steps are": config.include_canonical_coords
        and config.data.dataset not in config.data.image_datasets,
        f"`data.dataset` {config.data.dataset} is a collection: name its member in "
        "`data.subset`": config.data.dataset in ("ett", "uea") and config.data.subset is None,
        "`val_criterion` nll needs `loss` nll": given == "nll" and config.loss == "mse",
        f"`val_criterion` {given} does not fit `supervision_task` {config.supervision_task}": (
            given in ("mse", "mae", "rmse", "nll") and not config.reconstructs
        )
        or (given in ("cce", "error_rate", "f1_score") and not config.classifies),
        "`optim.kind` reference bounds every gradient entry first: set `gradient_lim`, 1e-7 in "
        "the original": config.optim.kind == "reference" and config.clip.kind != "value",
    }


def _sums(config: Config) -> bool:
    """Whether a recurrence started for it keeps running sums of true data."""
    return (
        (config.drive, config.target, config.transition) == ("true_diff", "next", "full")
        and config.init_state_layers is None
        and not config.use_theta_prev
    )
