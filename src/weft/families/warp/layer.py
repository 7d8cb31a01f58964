"""One weight-space layer: where its weights start, what moves them and what reads them."""

from __future__ import annotations

import torch
from torch import Tensor, nn

from weft.families.warp.initial import FreeInitial, GradualInitial, Initial
from weft.families.warp.root import Root
from weft.families.warp.rule import Rule
from weft.families.warp.transition import build_transition


class Layer(nn.Module):
    """The parameters theta_0 (or phi), A and B of a recurrence, and its root and rule.

    Args:
        root: reads the weights; D is its size.
        rule: what moves them.
        clock_channels: r, columns of B after those of the data.
        transition: `full`, `diag`, `block:<width>` or `lowrank:<rank>`; A starts as the identity.
        initial_layers: hidden layers of phi; None for a free theta_0.
        nonlinearity: activation of phi.
        drive_std: B starts as N(0, drive_std^2), at 0 exactly by default.
    """

    def __init__(
        self,
        root: Root,
        rule: Rule,
        clock_channels: int = 0,
        *,
        transition: str = "full",
        initial_layers: int | None = None,
        nonlinearity: str = "relu",
        drive_std: float = 0.0,
    ) -> None:
        super().__init__()
        self.root, self.rule = root, rule
        self.transition = build_transition(transition, root.size)
        self.B = nn.Parameter(torch.zeros(root.size, rule.channels + clock_channels))
        if drive_std > 0:
            nn.init.normal_(self.B, std=drive_std)
        self.initial: Initial = (
            FreeInitial(root)
            if initial_layers is None
            else GradualInitial(rule.channels, root.size, initial_layers, nonlinearity)
        )

    def start(self, first: Tensor, noise: Tensor | None = None) -> Tensor:
        """theta_0: (D,) if all sequences share it, else (N, D).

        Args:
            first: the first datum of each sequence, (N, d).
            noise: added to it, (N, D); None for none.
        """
        theta: Tensor = self.initial(first)
        return theta if noise is None else theta + noise
