"""Builds the model of a run from its config: a weight-space network, or a baseline."""

# N batch, T steps, d data channels, D weights, M places, q clock features, o raw outputs

from __future__ import annotations

import torch
from torch import Tensor, nn

from weft.errors import ConfigError, DataError
from weft.families.warp.baselines.direct import Direct, build_direct
from weft.families.warp.baselines.models import Baseline, build_baseline, equal_width
from weft.families.warp.cell.clock import Clock
from weft.families.warp.cell.outputs import Prediction
from weft.families.warp.cell.parts import clock_of, head_of, inputs_of, memory_of, root_of
from weft.families.warp.cell.time_conv import finished
from weft.families.warp.config import Config
from weft.families.warp.options.transitions import spelt, spreads
from weft.families.warp.rnn import WeightSpaceRNN
from weft.families.warp.sets.source import SeriesSpec


class WarpModel(nn.Module):
    """A `WeightSpaceRNN` whose outputs have names.

    Args:
        rnn: the network.
        feedback: whether it has been trained on its own predictions.
        lead: how many steps after a datum's own position the root is read for it: 1 if the output
            of step t, read at t + 1, has been trained on x_t.
    """

    def __init__(self, rnn: WeightSpaceRNN, *, feedback: bool = False, lead: int = 0) -> None:
        super().__init__()
        self.rnn, self.feedback, self.lead = rnn, feedback, lead

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
        """Predictions for sequences; arguments as for `WeightSpaceRNN.forward`."""
        out, state = self.rnn(
            x, force=force, sample=sample, length=length, position=position, last=last
        )
        return self.rnn.head.split(out, state.theta)

    def recall(self, theta: Tensor, data: Tensor) -> Prediction:
        """Predictions of every step by fixed weights: memory-based inference.

        Args:
            theta: weights after the last step, (N, D).
            data: the sequence, (N, T, d); only its length matters unless `input_prev_data`.
        """
        tau, smoothing = self.rnn.ticks(data, feedback=self.feedback).tau, self.rnn.smoothing
        raw = self._read(theta, tau, data)
        return self.rnn.head.split(finished(raw, self.rnn.head, smoothing), theta)

    def query(self, theta: Tensor, position: Tensor, *, data: Tensor | None = None) -> Prediction:
        """Predictions at any position by fixed weights, also between steps.

        Args:
            theta: weights after the last step, (N, D).
            position: positions in steps, integer or fractional, (M,), or of each sequence (N, M); 0
                is the first datum.
            data: the data in the root's input, (N, M, d), if `input_prev_data`.
        Returns: predictions at M positions, without smoothing.
        Raises:
            ConfigError: if the time of a step is unknown, because `length` is None.
            DataError: if the root's input includes data and none are given.
        """
        tau = self._clock().read((position + self.lead).to(theta.dtype))
        return self._named(self._read(theta, tau, data), theta)

    def picture(self, theta: Tensor, rows: int, columns: int) -> Prediction:
        """The picture that fixed weights represent, at any resolution.

        Args:
            theta: weights after the last step, (N, D).
            rows, columns: of the result; its corner pixels are those of the data.
        Returns: predictions at rows x columns positions, row by row.
        Raises:
            ConfigError: if the root's input has no coordinates, or `length` is None.
        """
        clock = self._clock()
        if clock.picture is None:
            raise ConfigError(
                "a root that knows the time alone has no values between the rows of a picture",
                where="include_canonical_coords",
                expected="a model trained with it; `query` reads this one between steps",
            )
        position, coordinates = (part.to(theta) for part in clock.places(rows, columns, self.lead))
        return self._named(self._read(theta, clock.read(position, coordinates)), theta)

    def _clock(self) -> Clock:
        if self.rnn.length is None:
            raise ConfigError(
                "the time of a step depends on how many there are",
                where="length",
                expected="WeightSpaceRNN(..., length=T)",
            )
        return self.rnn.clock

    def _read(self, theta: Tensor, tau: Tensor, data: Tensor | None = None) -> Tensor:
        """Raw outputs (N, M, o) of weights (N, D) at features (M, q) or (N, M, q)."""
        rnn, z = self.rnn, tau.expand(theta.shape[0], *tau.shape[-2:])
        layer = rnn.layers[-1]
        if layer.rule.input_prev_data:
            if data is None or len(rnn.layers) > 1 or rnn.embedding is not None:
                raise DataError(
                    "the root sees data beside the clock, and was given none it can use",
                    where="input_prev_data",
                    expected="`data`, and a model of one layer without embedding",
                )
            z = torch.cat([z, data], -1)
        return layer.root(theta.unsqueeze(1), z)

    def _named(self, raw: Tensor, theta: Tensor) -> Prediction:
        return self.rnn.head.split(self.rnn.head(raw), theta)


Model = WarpModel | Baseline | Direct
"""All models have the same interface: `forward`, and `query` if the root is read by query."""


def build_model(config: Config, spec: SeriesSpec) -> Model:
    """The model that `config.model_type` names, with the interface of `WarpModel`.

    Args:
        config: the run's config.
        spec: of `weft.families.warp.data.data_spec`.
    Raises:
        ConfigError: if config and data do not fit together.
    """
    if config.model_type == "wsm":
        return _weight_space(config, spec)
    width = config.rnn_hidden_size or 1
    if config.rnn_hidden_size is None and config.model_type != "dlinear":
        with torch.device("meta"):
            twin = _weight_space(config, spec)
        numbers = sum(parameter.numel() for parameter in twin.parameters())
        width = equal_width(lambda width: _rival(config, spec, width), numbers)
    return _rival(config, spec, width)


def _rival(config: Config, spec: SeriesSpec, width: int) -> Baseline | Direct:
    direct = config.model_type in ("mlp", "dlinear")
    return (build_direct if direct else build_baseline)(config, spec, width)


def _weight_space(config: Config, spec: SeriesSpec) -> WarpModel:
    head, clock = head_of(config, spec), clock_of(config, spec)
    embedding = config.conv_embedding
    inputs = inputs_of(config, spec)
    inner = [embedding[0] if embedding else inputs, *config.rnn_inner_dims]
    data = inner[-1] * config.input_prev_data
    rnn = WeightSpaceRNN(
        inputs,
        head.channels,
        uncertain=head.uncertain,
        classes=head.classes,
        final=config.mean_activation if config.reconstructs else None,
        std_tanh=config.std_additional_tanh,
        std_lower_bound=config.std_lower_bound,
        width=config.mlp_hidden_size,
        depth=config.mlp_depth,
        nonlinearity=config.root_activation,
        root=root_of(config, clock.features + data, data, head),
        inner_sizes=config.rnn_inner_dims,
        transition=spelt(config, config.transition),
        drive=config.drive,
        input_prev_data=config.input_prev_data,
        limit=config.weights_lim,
        halves=config.weights_lim_gradient == "half",
        half=config.weights_lim_products == "bfloat16",
        second_order=config.use_theta_prev,
        initial_layers=config.init_state_layers,
        initial_bias=config.init_state_bias,
        initial_noise=config.noise_theta_init,
        noise_in_eval=config.noise_theta_test,
        drive_std=config.input_init_std,
        horizon=memory_of(config, spec) / (config.patch or 1) if spreads(config) else None,
        length=clock.length,
        encoding=clock.encoding,
        encoding_extrapolates=clock.extrapolates,
        picture=clock.picture,
        time_as_channel=clock.time_as_channel,
        waves=clock.waves,
        embedding=(embedding[0], embedding[1], bool(embedding[2])) if embedding else None,
        smoothing=config.output_smoothing,
        original_convolutions=config.convolutions == "original",
        form=config.form,
    )
    feedback = config.feeds_back
    return WarpModel(rnn, feedback=feedback, lead=int(feedback and config.target == "same"))
