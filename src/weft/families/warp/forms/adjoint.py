"""The decoding and feedback of a run that feeds predictions back, forward and backward."""

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
        fed: xin_{-1} in a run that continues a state, (N, d); x_0 if None.
    Returns: known (T, N, d); a and b (T, N, 1).
    """
    known = force * x
    if drive == "innovation":
        return known, -force, torch.zeros_like(force)
    if drive == "diff":
        return known, 1 - force, -torch.ones_like(force)
    # What was fed before the first step is known.
    before = torch.cat([torch.ones_like(force[:1]), force[:-1]])
    first = x[:1] if fed is None else fed.unsqueeze(0)
    return known - before * torch.cat([first, x[:-1]]), 1 - force, before - 1


@dataclass(frozen=True)
class Course:
    """The inputs of a run that are known before it starts; dimension 0 is time.

    Attributes:
        decoder: of the root.
        head: computes the prediction that is fed back.
        a, b: weights of the last two predictions in dx, (T, N, 1); see `mix`.
        tau: clock features, (T, q) or (T, N, q).
        sees_data: whether the root's input includes xprev_t = xhat_{t-1} besides the clock.
        noise: standard normal, (T, N, d): mean + std * noise is fed back; None: the mean.
        begun: whether the step is data and not front padding, (T, N, 1); None: all are. In the
            padding x_0 is fed back.
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
        """The values (..., d) that are fed back for raw outputs (..., o)."""
        d = self.head.channels
        mean = self.head.mean(raw[..., :d])
        return mean if noise is None else mean + self.head.std(raw[..., d : 2 * d]) * noise


class Track:
    """The results of a run except the weights, with everything that its backward pass needs.

    Args:
        course: the run's inputs.
        known: the part of dx without predictions, (T, N, d).
        opening: xhat_{-1} and xhat_0, both x_0 unless the run continues a state, (2, N, d).
        outputs: o.
        keeps: whether a backward pass will follow.
    Attributes:
        seen: xhat_{-1}, xhat_0, xhat_1, ..., xhat_T, (T + 2, N, d): step t reads rows t and t + 1.
        raw: raw outputs, (T, N, o).
        tape: the decoder's tape of each step in one tensor, (T, N, sum of widths). Separate tensors
            would be allocated in the gaps of freed weights and make the heap grow.
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
        # Elementwise, as each prediction depends only on its own raw mean and raw std.
        (self.slope,) = torch.autograd.grad(
            self.guess, raw, torch.ones_like(self.guess), retain_graph=bool(self.parameters)
        )

    def weights(self, t: int, theta: Tensor, out: Tensor, *, adds: bool = False) -> None:
        """Writes the gradient by theta_t through out_t to `out` (N, D), or adds it.

        Later steps must be done before, as their use of the prediction of step t is included.
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
        """Passes the gradient by dx_t (N, d) on to the parts of dx_t."""
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
