"""The world models: encoder, forward model, and the heads that the objective needs."""

# T frames, B batch, D code, C channels, S pixels along a side, R frames read before predicting

from __future__ import annotations

import torch
from torch import Tensor, nn

from weft.data.source import DataSpec
from weft.families.jepa.config import Config
from weft.families.jepa.nets.backbone import Encoder, stack, widths_of
from weft.families.jepa.nets.decoder import build_decoder, decode
from weft.families.jepa.nets.predictor import ACTION_DIM, build_predictor
from weft.families.jepa.nets.rssm import RssmModel
from weft.families.jepa.options.sections import ModelConfig
from weft.families.jepa.sets.ground import on_other_ground
from weft.families.jepa.terms.registry import weights_of
from weft.families.jepa.terms.rollout import Rollout, read_actions
from weft.nn.dense import Dense
from weft.nn.precision import widened


class JepaModel(nn.Module):
    """Encoder, forward model, projector, and heads that read codes; heads not needed are None.

    Args:
        encoder: from images to codes.
        config: section `model`.
        action_head: from [h_t, e_(t+1)] (2 D) to actions.
        code_head: from [e_t, e_(t+1)] (2 D) to actions.
        decoder: from codes to pixels.
        position_head: from codes to the positions of all dots, (2 K).
        detached: whether no gradient passes from the forward model to the encoder.
    Attributes:
        burnin: R; a rollout begins at frame R - 1.
        dim: D.
    """

    def __init__(
        self,
        encoder: Encoder,
        config: ModelConfig,
        *,
        action_head: nn.Module | None = None,
        code_head: nn.Module | None = None,
        decoder: nn.Module | None = None,
        position_head: nn.Module | None = None,
        detached: bool = False,
    ) -> None:
        super().__init__()
        self.encoder, self.dim, self.burnin = encoder, encoder.dim, config.rnn_burnin
        self.predictor = build_predictor(
            config, self.dim, None if config.backbone_mlp else encoder.map
        )
        self.projector: nn.Module | None = None
        self.project_each_frame = config.project_each_frame
        if config.projector != "id":
            self.projector = stack([self.dim, *widths_of(config.projector)])
            self.projector.requires_grad_(not config.random_projector)
        self.action_head, self.code_head = action_head, code_head
        self.decoder, self.position_head = decoder, position_head
        self.detached = detached
        self.swap_ground = config.swap_ground

    def encode(self, image: Tensor) -> Tensor:
        """Codes (T, B, D) of images (B, T, C, S, S)."""
        codes: Tensor = self.encoder(image)
        return codes

    def rollout(self, e_0: Tensor, action: Tensor) -> Tensor:
        """Codes predicted from the first code and the actions; the probe reads these.

        Args:
            e_0: first code, (B, D), or the first R codes, (R, B, D).
            action: (B, R - 1 + n, 2).
        Returns: [e_(R-1), h_R, …], (n + 1, B, D).
        """
        start = e_0 if e_0.dim() == 3 else e_0[None]
        predicted: Tensor = self.predictor(start, action.transpose(0, 1))
        return torch.cat((start[-1:], predicted))

    def forward(
        self, image: Tensor, action: Tensor, generator: torch.Generator | None = None
    ) -> Rollout:
        """Codes, predicted codes, and the outputs of the heads.

        If positions are learnt from the rollout, only the first R frames are encoded.

        Args:
            image: (B, T, C, S, S).
            action: (B, T - 1, 2).
            generator: not used here; an RSSM samples its states with it.
        """
        seen = image if self.position_head is None else image[:, : self.burnin]
        if self.training and self.swap_ground > 0:
            first = on_other_ground(image, self.burnin, self.swap_ground)
            start, codes = self.encode(torch.cat((first, seen), dim=1)).tensor_split([self.burnin])
        else:
            codes = self.encode(seen)
            start = codes[: self.burnin]
        h = self.rollout(start.detach() if self.detached else start, action)
        e = codes[self.burnin - 1 :]
        z_e = self._project(e)
        return Rollout(
            e,
            h,
            z_e,
            self._project_predicted(h, z_e),
            action_rollout=read_actions(self.action_head, h, e),
            action_codes=read_actions(self.code_head, e, e),
            pixels=None if self.decoder is None else decode(self.decoder, e),
            location=None if self.position_head is None else self._positions(h),
        )

    def _project(self, z: Tensor) -> Tensor:
        if self.projector is None:
            return z
        projected: Tensor = self.projector(z.flatten(0, 1))
        return widened(projected).unflatten(0, z.shape[:2])

    def _project_predicted(self, h: Tensor, z_e: Tensor) -> Tensor:
        if self.projector is None or not self.project_each_frame:
            return self._project(h)
        frames = [self._project(frame) for frame in h[1:].split(1)]
        return torch.cat((z_e[:1], *frames))

    def _positions(self, h: Tensor) -> Tensor:
        assert self.position_head is not None
        flat: Tensor = self.position_head(h)
        return widened(flat).unflatten(-1, (-1, 2))


Model = JepaModel | RssmModel
"""A model that an objective trains; both have the same interface."""


def build_model(config: Config, spec: DataSpec) -> Model:
    """The model of `config.objective`: a `JepaModel`, or an `RssmModel` with the same interface.

    Args:
        config: the run's config.
        spec: of `weft.families.jepa.data.data_spec`.
    Raises:
        ConfigError: if encoder, forward model and images do not fit together.
    """
    _, channels, _, size = spec.fields["image"].shape
    num_dots, _ = spec.fields["location"].shape[1:]
    encoder = Encoder(config.model, channels, size)
    terms, dim = weights_of(config), encoder.dim
    action_head = Dense(2 * dim, ACTION_DIM) if "idm" in terms else None
    if config.objective == "rssm":
        decoder = build_decoder(config.model, 2 * dim, channels, size)
        return RssmModel(encoder, decoder, config.rssm, action_head)
    detached = "forward_detached" in terms
    code_head: nn.Module | None = None
    if "idm_enc" in terms:
        hidden = config.combo.idm_hidden_dim
        code_head = (
            Dense(2 * dim, ACTION_DIM)
            if detached
            else nn.Sequential(Dense(2 * dim, hidden), nn.ReLU(), Dense(hidden, ACTION_DIM))
        )
    return JepaModel(
        encoder,
        config.model,
        action_head=action_head,
        code_head=code_head,
        decoder=(build_decoder(config.model, dim, channels, size) if "decoding" in terms else None),
        position_head=Dense(dim, 2 * num_dots, bias=False) if "position" in terms else None,
        detached=detached,
    )
