"""What a run that feeds predictions back does beside moving the weights, forward and backward."""

# N batch, T steps, d data channels, D weights, q clock features, o raw outputs

from __future__ import annotations

from dataclasses import dataclass

import torch
from torch import Tensor

from weft.families.warp.cell.outputs import Head
from weft.families.warp.cell.recurrence_rule import Drive
from weft.families.warp.forms.decode import Decoder


def mix(
    drive: Drive, x: Tensor, force: Tensor, fed: Tensor | None = None
) -> tuple[Tensor, Tensor, Tensor]:
    """(known, a, b) such that dx_t = known_t + a_t xhat_t + b_t xhat_{t-1}, where xhat_{-1} = x_0.

    With xin_t = f_t x_t + (1 - f_t) xhat_t, the three drives are linear in truth and predictions:
    `diff` xin_t - xhat_{t-1}, `innovation` f_t (x_t - xhat_t), `true_diff` xin_t - xin_{t-1}.

    Args:
        drive: which difference.
        x: the truth, time first, (T, N, d).
        force: f, time first, (T, N, 1).
        fed: xin_{-1} of a run that goes on, (N, d); x_0 if None.
    Returns: known (T, N, d); a and b (T, N, 1).
    """
    known = force * x
    if drive == "innovation":
        return known, -force, torch.zeros_like(force)
    if drive == "diff":
        return known, 1 - force, -torch.ones_like(force)
    # Before the first step it is all known what was fed.
    before = torch.cat([torch.ones_like(force[:1]), force[:-1]])
    first = x[:1] if fed is None else fed.unsqueeze(0)
    return known - before * torch.cat([first, x[:-1]]), 1 - force, before - 1


@dataclass(frozen=True)
class Course:
    """What is given before a run starts; times come first.

    Attributes:
        decoder: of the root.
        head: gives the prediction that is fed back.
        a, b: shares of the last two predictions in dx, (T, N, 1); see `mix`.
        tau: clock features, (T, q) or (T, N, q).
        sees_data: whether the root reads xprev_t = xhat_{t-1} beside the clock.
        noise: standard normal, (T, N, d): mean + std * noise is fed back; None feeds the mean.
        begun: whether the step is data and not front padding, (T, N, 1); None if all are. In the
            padding the prediction fed back stays x_0.
    """

    decoder: Decoder
    head: Head
    a: Tensor
    b: Tensor
    tau: Tensor
    sees_data: bool = False
    noise: Tensor | None = None
    begun: Tensor | None = None

    @property
    def steps(self) -> int:
        """T."""
        return len(self.tau)

    def predict(self, raw: Tensor, noise: Tensor | None) -> Tensor:
        """What raw outputs (..., o) feed back, (..., d)."""
        d = self.head.channels
        mean = self.head.mean(raw[..., :d])
        return mean if noise is None else mean + self.head.std(raw[..., d : 2 * d]) * noise


class Track:
    """What a run leaves beside the weights, and what its backward pass reads.

    Args:
        course: what is given.
        known: the part of dx that is no prediction, (T, N, d).
        opening: xhat_{-1} and xhat_0, both x_0 unless the run goes on, (2, N, d).
        outputs: o.
        keeps: whether a backward pass will follow.
    Attributes:
        seen: xhat_{-1}, xhat_0, xhat_1, ..., xhat_T, (T + 2, N, d): step t reads rows t and t + 1.
        raw: raw outputs, (T, N, o).
        tape: what the decoder kept of each step, side by side, (T, N, sum of widths). Kept one by
            one, they would settle in the gaps of freed weights and make the heap grow.
    """

    def __init__(
        self, course: Course, known: Tensor, opening: Tensor, outputs: int, keeps: bool
    ) -> None:
        steps, count, channels = known.shape
        self.course, self.known, self.keeps = course, known, keeps
        self.seen = known.new_empty(steps + 2, count, channels)
        self.seen[:2] = opening
        self.raw = known.new_empty(steps, count, outputs)
        kept = sum(course.decoder.widths) if keeps else 0
        self.tape = known.new_empty(steps, count, kept)

    def difference(self, t: int, out: Tensor) -> None:
        """Writes dx_t into `out` (N, d)."""
        torch.addcmul(self.known[t], self.course.a[t], self.seen[t + 1], out=out)
        out.addcmul_(self.course.b[t], self.seen[t])

    def place(self, t: int) -> Tensor:
        """z_t = [tau_t, xprev_t if the root sees data], (N, i)."""
        tau = self.course.tau[t].expand(self.seen.shape[1], -1)
        return torch.cat([tau, self.seen[t]], -1) if self.course.sees_data else tau

    def read(self, t: int, theta: Tensor) -> None:
        """Decodes theta_t (N, D) and feeds the prediction back."""
        course = self.course
        raw, tape = course.decoder.forward(theta, self.place(t))
        if self.keeps and tape:
            torch.cat(tape, -1, out=self.tape[t])
        self.raw[t] = raw
        guess = course.predict(raw, None if course.noise is None else course.noise[t])
        if course.begun is not None:
            guess = torch.where(course.begun[t], guess, self.seen[0])
        self.seen[t + 2] = guess


class Adjoint:
    """The backward pass of a `Track`, from the last step to the first.

    Args:
        track: of the run.
        error: gradient by the raw outputs, (T, N, o).
    Attributes:
        known: gradient by `known`, (T, N, d), once all steps are done.
    """

    def __init__(self, track: Track, error: Tensor) -> None:
        self.track, self.error = track, error.clone()
        self.seen = torch.zeros_like(track.seen)
        self.known = torch.empty_like(track.known)
        self.parameters = tuple(track.course.head.parameters())
        raw = track.raw.detach().requires_grad_()
        with torch.enable_grad():
            self.guess = track.course.predict(raw, track.course.noise)
        # Entry by entry: each prediction depends on its own raw mean and raw std alone.
        (self.slope,) = torch.autograd.grad(
            self.guess, raw, torch.ones_like(self.guess), retain_graph=bool(self.parameters)
        )

    def weights(self, t: int, theta: Tensor, out: Tensor, *, adds: bool = False) -> None:
        """Writes the gradient by theta_t through out_t alone into `out` (N, D), or adds it there.

        Later steps must have been done: what they drew from the prediction of step t comes in here.
        """
        course, error, d = self.track.course, self.error[t], self.known.shape[-1]
        for start in (0,) if course.noise is None else (0, d):
            columns = slice(start, start + d)
            error[:, columns].addcmul_(self._fed(t), self.slope[t, :, columns])
        tape = self.track.tape[t].split(course.decoder.widths, -1) if course.decoder.widths else ()
        back = course.decoder.backward(
            theta, self.track.place(t), tape, error, out, course.sees_data, adds=adds
        )
        if back is not None:
            self.seen[t].add_(back[:, -d:])

    def difference(self, t: int, error: Tensor) -> None:
        """Hands the gradient by dx_t (N, d) down to what dx_t was made of."""
        self.known[t] = error
        self.seen[t + 1].addcmul_(self.track.course.a[t], error)
        self.seen[t].addcmul_(self.track.course.b[t], error)

    @property
    def opening(self) -> Tensor:
        """Gradient by the opening, (2, N, d), once all steps are done."""
        opening, begun = self.seen[:2].clone(), self.track.course.begun
        if begun is not None:
            opening[0] += torch.where(begun, 0, self.seen[2:]).sum(0)
        return opening

    def head(self) -> tuple[Tensor, ...]:
        """Gradients by the head's parameters through the predictions fed back; all steps done."""
        if not self.parameters:
            return ()
        begun = self.track.course.begun
        fed = self.seen[2:] if begun is None else self.seen[2:] * begun
        return torch.autograd.grad(self.guess, self.parameters, fed)

    def _fed(self, t: int) -> Tensor:
        """Gradient by the prediction of step t, (N, d)."""
        begun, fed = self.track.course.begun, self.seen[t + 2]
        return fed if begun is None else fed * begun[t]
