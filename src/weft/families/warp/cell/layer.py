"""One weight-space layer: its initial weights, its recurrence and its root."""

from __future__ import annotations

import torch
from torch import Tensor, nn

from weft.errors import ConfigError
from weft.families.warp.cell.formula import Dynamics, FormulaRoot
from weft.families.warp.cell.initial import FreeInitial, GradualInitial, Initial
from weft.families.warp.cell.ranges import check_size
from weft.families.warp.cell.recurrence_rule import Rule
from weft.families.warp.cell.root import Root
from weft.families.warp.cell.span import Span
from weft.families.warp.transition.build import build_transition


class Layer(nn.Module):
    """The parameters theta_0 (or phi), A and B of a recurrence, with its root and rule.

    Args:
        root: uses the weights; D is its size.
        rule: of the recurrence.
        clock_channels: r, columns of B after those of the data.
        transition: see `build_transition`; A starts as the identity if possible. If its state has
            fewer numbers than the root has weights, the root becomes a `Span`.
        initial_layers: hidden layers of phi; None for a free theta_0.
        nonlinearity: activation of phi.
        drive_std: B starts as N(0, drive_std^2), at 0 exactly by default.
        initial_bias: whether phi has biases.
        horizon: memory of A at the start in steps, see `Transition.spread`; None: the default of
            its kind.
    Raises:
        ConfigError: if the root has its own dynamics and `transition` or `initial_layers` do not
            allow them, or if a number is invalid.
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
        initial_bias: bool = True,
        horizon: float | None = None,
    ) -> None:
        super().__init__()
        check_size("drive_std", drive_std, positive=False)
        if horizon is not None:
            check_size("horizon", horizon)
        self.transition = build_transition(transition, root.size)
        if self.transition.size != root.size:
            root = Span(root, self.transition.size)
        self.root, self.rule = root, rule
        self.B = nn.Parameter(torch.zeros(root.size, rule.channels + clock_channels))
        if drive_std > 0:
            nn.init.normal_(self.B, std=drive_std)
        self.initial: Initial = (
            FreeInitial(root)
            if initial_layers is None
            else GradualInitial(
                rule.channels, root.size, initial_layers, nonlinearity, bias=initial_bias
            )
        )
        if horizon is not None:
            self._spread(horizon)
        dynamics = root.dynamics() if isinstance(root, FormulaRoot) else None
        if dynamics is not None:
            self._adopt(dynamics, initial_layers)

    @torch.no_grad()
    def _spread(self, horizon: float) -> None:
        """Starts A with a memory; for a low-rank A, B then drives only the part with memory."""
        self.transition.spread(horizon)
        if self.transition.factors is not None:
            _, V = self.transition.factors
            self.B.copy_(V @ (V.mT @ self.B))

    @torch.no_grad()
    def _adopt(self, dynamics: Dynamics, initial_layers: int | None) -> None:
        """Starts A, B and theta_0 = W x_0 as the root's law defines."""
        A, B, W = dynamics
        if initial_layers is not None or not self.transition.adopt(A):
            raise ConfigError(
                "this root brings the start of A and of the first weights with it",
                where="root",
                expected="transition full and init_state_layers null",
            )
        if B.shape[1] != self.rule.channels:
            raise ConfigError(
                f"this root is moved by {B.shape[1]} channels, and the data have "
                f"{self.rule.channels}",
                where="root",
            )
        self.B[:, : B.shape[1]] += B
        initial = GradualInitial(self.rule.channels, self.root.size, 0, "identity", bias=False)
        next(initial.parameters()).copy_(W)
        self.initial = initial

    def start(self, first: Tensor, noise: Tensor | None = None) -> Tensor:
        """theta_0: (D,) if all sequences share it, else (N, D).

        Args:
            first: the first datum of each sequence, (N, d).
            noise: added to it, (N, D); None for none.
        """
        theta: Tensor = self.initial(first)
        return theta if noise is None else theta + noise
