"""Builds the parts of a model from config and data: its rule, clock, head and root."""

from __future__ import annotations

from weft.errors import ConfigError
from weft.families.warp.cell.clock import Clock
from weft.families.warp.cell.outputs import Head
from weft.families.warp.cell.physics import physics_root
from weft.families.warp.cell.recurrence_rule import Rule
from weft.families.warp.cell.root import MlpRoot, Root
from weft.families.warp.config import Config
from weft.families.warp.sets.source import SeriesSpec


def rule_of(config: Config, channels: int) -> Rule:
    """The rule of a layer whose input has `channels` channels."""
    return Rule(
        channels=channels,
        drive=config.drive,
        input_prev_data=config.input_prev_data,
        limit=config.weights_lim,
        second_order=config.use_theta_prev,
        halves=config.weights_lim_gradient == "half",
        half=config.weights_lim_products == "bfloat16",
    )


def clock_of(config: Config, spec: SeriesSpec) -> Clock:
    """The clock of sequences of `spec.steps` steps.

    Raises:
        ConfigError: if coordinates are asked for and the steps are not pixels of a picture.
    """
    if config.include_canonical_coords and spec.canvas is None:
        raise ConfigError(
            f"the steps of {config.data.dataset} have no pixel coordinates",
            where="include_canonical_coords",
            expected="a data set of pictures",
        )
    return Clock(
        length=spec.steps,
        encoding=config.positional_encoding,
        picture=spec.canvas if config.include_canonical_coords else None,
        time_as_channel=config.time_as_channel,
        waves=config.coordinate_waves,
        extrapolates=config.encoding_ahead == "vector",
    )


def memory_of(config: Config, spec: SeriesSpec) -> int:
    """Number of steps that a prediction may use: the given ones, or all of another input."""
    if not config.reconstructs or "target" in spec.fields:
        return spec.steps
    return config.grounding_length if spec.context is None else spec.context


def inputs_of(config: Config, spec: SeriesSpec) -> int:
    """Input channels of the recurrence: those of the data, times `patch`."""
    return spec.channels * (config.patch or 1)


def head_of(config: Config, spec: SeriesSpec) -> Head:
    """Means (and deviations) of the target's channels and a logit per class, as the task needs.

    `root_output_dim` overrides the number of outputs.

    Raises:
        ConfigError: if this number cannot be divided into logits and predictions.
    """
    uncertain = config.reconstructs and config.loss == "nll"
    classes = spec.num_classes if config.classifies else 0
    each = 2 if uncertain else 1
    channels = spec.outputs if config.reconstructs else 0
    if config.root_output_dim is not None:
        means = config.root_output_dim - classes
        if means % each or (means > 0) != config.reconstructs:
            raise ConfigError(
                f"{config.root_output_dim} outputs do not make {classes} logits and whole "
                f"predictions of {each} each",
                where="root_output_dim",
                expected=f"{each * channels + classes} for this task",
            )
        channels = means // each
    return Head(
        channels,
        final=config.mean_activation if config.reconstructs else None,
        uncertain=uncertain,
        std_tanh=config.std_additional_tanh,
        std_lower_bound=config.std_lower_bound,
        classes=classes,
    )


def root_of(config: Config, inputs: int, channels: int, head: Head) -> Root:
    """The root that `config.root` names.

    Args:
        config: the run's config.
        inputs: features of z.
        channels: number of them that are data.
        head: gives the number of the root's outputs.
    """
    width, depth, nonlinearity = (
        config.mlp_hidden_size,
        config.mlp_depth,
        config.root_activation,
    )
    if config.root == "mlp":
        return MlpRoot(inputs, head.outputs, width, depth, nonlinearity)
    deviations = head.channels if head.uncertain else 0
    return physics_root(config.root, inputs, channels, deviations, width, depth, nonlinearity)
