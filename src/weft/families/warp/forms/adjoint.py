"""The decoding and feedback of a run that feeds predictions back, forward and backward."""

# N batch, T steps, d data channels, D weights, q clock features, o raw outputs

from __future__ import annotations

from dataclasses import dataclass

import torch
from torch import Tensor

from weft.families.warp.cell.outputs import Head
from weft.families.warp.cell.recurrence_rule import Drive
from weft.families.warp.forms.decode import Decoder, Parts


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
        tapes: the decoder's tape of each step, parts of few tensors: separate ones would be
            allocated in the gaps of freed weights and make the heap grow.
        places: z_t without xprev_t, T of (N, q).
        mixed: the parts of dx, (known_t, a_t, b_t) of each step.
    """

    def __init__(
        self, course: Course, known: Tensor, opening: Tensor, outputs: int, keeps: bool
    ) -> None:
        steps, count, channels = known.shape
        self.course, self.known, self.keeps = course, known, keeps
        self.seen = known.new_empty(steps + 2, count, channels)
        self.seen[:2] = opening
        self.raw = known.new_empty(steps, count, outputs)
        self.tapes: list[tuple[Tensor, ...]] = [()] * steps
        if keeps and course.decoder.widths:
            kept = (part.unbind() for part in course.decoder.tape(known, steps, count))
            self.tapes = list(zip(*kept, strict=True))
        tau = course.tau if course.tau.dim() == 3 else course.tau.unsqueeze(1)
        # Views are made once, as to make them takes longer than what a step does with some.
        self.places = tau.expand(-1, count, -1).unbind()
        self.mixed = list(zip(known.unbind(), course.a.unbind(), course.b.unbind(), strict=True))
        self._seen, self._raw = self.seen.unbind(), self.raw.unbind()

    def difference(self, t: int, out: Tensor) -> None:
        """Writes dx_t into `out` (N, d)."""
        known, a, b = self.mixed[t]
        torch.addcmul(known, a, self._seen[t + 1], out=out)
        out.addcmul_(b, self._seen[t])

    def place(self, t: int) -> Tensor:
        """z_t = [tau_t, xprev_t if the root sees data], (N, i)."""
        if self.course.sees_data:
            return torch.cat([self.places[t], self._seen[t]], -1)
        return self.places[t]

    def read(self, t: int, theta: Parts) -> None:
        """Decodes theta_t and feeds the prediction back."""
        course = self.course
        raw = self._raw[t]
        raw.copy_(course.decoder.forward(theta, self.place(t), self.tapes[t]))
        guess = course.predict(raw, None if course.noise is None else course.noise[t])
        if course.begun is not None:
            guess = torch.where(course.begun[t], guess, self._seen[0])
        self._seen[t + 2].copy_(guess)


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
        self._error, self._seen = self.error.unbind(), self.seen.unbind()
        raw = track.raw.detach().requires_grad_()
        with torch.enable_grad():
            self.guess = track.course.predict(raw, track.course.noise)
        # Elementwise, as each prediction depends only on its own raw mean and raw std.
        (self.slope,) = torch.autograd.grad(
            self.guess, raw, torch.ones_like(self.guess), retain_graph=bool(self.parameters)
        )
        d = self.known.shape[-1]
        starts = (0,) if track.course.noise is None else (0, d)
        both = [(self.error[..., k : k + d], self.slope[..., k : k + d]) for k in starts]
        self._fed_back = [list(zip(e.unbind(), s.unbind(), strict=True)) for e, s in both]
        self._known = self.known.unbind()

    def weights(self, t: int, theta: Parts, out: Parts, *, adds: bool = False) -> None:
        """Writes the gradient by theta_t through out_t to `out`, or adds it.

        Later steps must be done before, as their use of the prediction of step t is included.
        """
        track = self.track
        for steps in self._fed_back:
            error, slope = steps[t]
            error.addcmul_(self._fed(t), slope)
        sees = track.course.sees_data
        back = track.course.decoder.backward(
            theta, track.place(t), track.tapes[t], self._error[t], out, sees, adds=adds
        )
        if back is not None:
            self._seen[t].add_(back[:, -self.known.shape[-1] :])

    def difference(self, t: int, error: Tensor) -> None:
        """Passes the gradient by dx_t (N, d) on to the parts of dx_t."""
        _, a, b = self.track.mixed[t]
        self._known[t].copy_(error)
        self._seen[t + 1].addcmul_(a, error)
        self._seen[t].addcmul_(b, error)

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
        begun, fed = self.track.course.begun, self._seen[t + 2]
        return fed if begun is None else fed * begun[t]
