"""Forward models: codes predicted from the first ones and the actions."""

# T frames predicted, B batch, D code, A action, R frames read before predicting, L layers

from __future__ import annotations

import torch
from torch import Tensor, nn

from weft.errors import ConfigError
from weft.families.jepa.nets.backbone import stack, widths_of
from weft.families.jepa.nets.gru import gru
from weft.families.jepa.options.sections import ModelConfig
from weft.nn.dense import Dense, linear
from weft.nn.precision import widened

ACTION_DIM = 2


class Predictor(nn.Module):
    """The interface of forward models: `forward(start, action)`.

    start (R, B, D) are the first true codes; prediction begins at the last of them. action
    (R - 1 + T, B, 2) are the actions from the first code on. Returns the predicted T codes after
    the last true one, (T, B, D).
    """


class Gru(Predictor):
    """A GRU driven by the actions, whose state starts at the first code (in every layer).

    Args:
        dim: D.
        layers: L.
    """

    def __init__(self, dim: int, layers: int) -> None:
        super().__init__()
        self.gru = nn.GRU(ACTION_DIM, dim, layers)

    def forward(self, start: Tensor, action: Tensor) -> Tensor:
        """States of the last layer after each action; on a GPU one call of cuDNN."""
        h = start[-1]
        if torch.compiler.is_compiling() or (h.device.type != "cpu" and not _recorded(h)):
            every_layer = h.expand(self.gru.num_layers, -1, -1).contiguous()
            return widened(self.gru(action, every_layer)[0])
        x = action
        for weight_x, weight_h, bias_x, bias_h in self.gru.all_weights:
            x = gru(widened(linear(x, weight_x, bias_x)), h, weight_h, bias_h)
        return x


def _recorded(tensor: Tensor) -> bool:
    """Whether this step is being captured as a CUDA graph, in which cuDNN's GRU is not used.

    Studies whose captured steps called cuDNN's GRU ended with codes of NaN (torch 2.11, H200);
    those with weft's own loop never did. The reason is unknown: the layer alone, captured and
    replayed 200 times, is exact. Meta tensors are excluded first, because torch built for CUDA
    fails on them without a GPU.
    """
    return tensor.is_cuda and torch.cuda.is_current_stream_capturing()


class BurninGru(Predictor):
    """A GRU that starts from zero, reads [code, action] and predicts codes one after another.

    Args:
        dim: D.
        layers: L.
    """

    def __init__(self, dim: int, layers: int) -> None:
        super().__init__()
        self.gru = nn.GRU(dim + ACTION_DIM, dim, layers)
        self.read = Dense(dim, dim)

    def forward(self, start: Tensor, action: Tensor) -> Tensor:
        """Reads all codes of `start` except the last, then its own predictions."""
        seen = len(start) - 1
        state = None
        if seen:
            _, state = self.gru(torch.cat((start[:-1], action[:seen]), dim=-1))
        h, codes = start[-1], []
        for a in action[seen:].unbind():
            out, state = self.gru(torch.cat((h, a), dim=-1)[None], state)
            h = widened(self.read(out[0]))
            codes.append(h)
        return torch.stack(codes)


class ResidualMlp(Predictor):
    """h' = h + MLP([h, a]), with batch normalisation of hidden layers at each step.

    Args:
        dim: D.
        hidden: widths of the hidden layers.
    """

    def __init__(self, dim: int, hidden: list[int]) -> None:
        super().__init__()
        self.net = stack([dim + ACTION_DIM, *hidden, dim])

    def forward(self, start: Tensor, action: Tensor) -> Tensor:
        """One step for each action."""
        h, codes = start[-1], []
        for a in action[len(start) - 1 :].unbind():
            h = h + self.net(torch.cat((h, a), dim=-1))
            codes.append(h)
        return torch.stack(codes)


class ResidualConv(Predictor):
    """h' = h + f([h, a]) for codes that are feature maps; the action enters as constant planes.

    Args:
        shape: (channels, height, width) of a code.
    """

    hidden = 32

    def __init__(self, shape: tuple[int, int, int]) -> None:
        super().__init__()
        self.shape = shape
        self.net = nn.Sequential(
            nn.Conv2d(shape[0] + ACTION_DIM, self.hidden, 5, padding=2),
            nn.ReLU(),
            nn.Conv2d(self.hidden, shape[0], 5, padding=2),
        )

    def forward(self, start: Tensor, action: Tensor) -> Tensor:
        """One step for each action."""
        _, height, width = self.shape
        h, codes = start[-1], []
        for a in action[len(start) - 1 :].unbind():
            planes = a[:, :, None, None].expand(-1, -1, height, width)
            h = h + self.net(torch.cat((h.unflatten(1, self.shape), planes), dim=1)).flatten(1)
            codes.append(h)
        return torch.stack(codes)


class Repeat(Predictor):
    """Predicts that nothing changes."""

    def forward(self, start: Tensor, action: Tensor) -> Tensor:
        """The last true code, once for each action."""
        return start[-1].expand(len(action) - len(start) + 1, -1, -1)


def build_predictor(config: ModelConfig, dim: int, shape: tuple[int, int, int] | None) -> Predictor:
    """The forward model that `config.predictor` names.

    Args:
        config: section `model`.
        dim: D.
        shape: (channels, height, width) if codes are feature maps, else None.
    Raises:
        ConfigError: for `conv` if codes are not feature maps.
    """
    if config.predictor == "rnn" and config.rnn_burnin == 1:
        return Gru(dim, config.rnn_layers)
    if config.predictor.startswith("rnn"):
        return BurninGru(dim, config.rnn_layers)
    if config.predictor == "id":
        return Repeat()
    if config.predictor == "conv":
        if shape is None:
            raise ConfigError(
                f"the codes of `{config.arch}` are not feature maps",
                where="model.predictor=conv",
                expected="model.arch id, pixel or canonical, without model.backbone_mlp",
            )
        return ResidualConv(shape)
    return ResidualMlp(dim, widths_of(config.predictor))
