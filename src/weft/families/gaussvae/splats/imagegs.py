"""The schedule of Image-GS: starts with half of the splats, and adds others where errors are."""

# N splats, H x W pixels

from __future__ import annotations

import math
from dataclasses import asdict, dataclass, field
from functools import partial
from typing import Any

import torch
from torch import Tensor

from weft.errors import UsageError
from weft.families.gaussvae.forms.replay import Replay
from weft.families.gaussvae.splats.descent import Descent
from weft.families.gaussvae.splats.geometry import STD_LEAST, to_logcov
from weft.families.gaussvae.splats.likeness import Likeness
from weft.families.gaussvae.splats.quality import psnr, ssim
from weft.families.gaussvae.splats.quantise import Bits, quantised
from weft.families.gaussvae.splats.rasterise import render

ADDITIONS = 4
"""Number of times that splats are added, each time a quarter of the initial number."""

FEWEST_AFTER = 3000
"""Smallest number of steps after the last addition, whatever the plateau rule decides."""


@dataclass(frozen=True)
class ImageGS:
    """Settings of a fit by the schedule of Image-GS (Zhang et al., 2025).

    Attributes:
        splats: N, of which ceil(N / 2) exist at the start.
        steps: largest number of steps.
        rate_position, rate_scale, rate_rotation, rate_colour: learning rates of Adam, in units of
            the picture's side, 1/pixel, radians, and brightness.
        std: standard deviation of a new splat, which is round, in pixels.
        edges: share of the initial splats that are placed in proportion to the picture's gradient.
        l1, l2, dissimilarity: weights of the mean absolute error, the mean squared error, and
            1 - SSIM.
        add_every: steps between additions.
        look_every: steps between two measurements of PSNR and SSIM.
        patience: number of steps without a rise by `rise_psnr` decibels or `rise_ssim` after which
            all rates are divided by 10; the second time the fit ends.
        bits: of a position, scale, rotation and colour number, 4 to 32; None: not quantised.
        seed: of the random positions.
        topk: only this many of the largest weights of a pixel count; 0: all.
        blend: "normalised" or "sum".
        form: of the renderer; "auto" takes the fastest.
    """

    splats: int = 512
    steps: int = 5000
    rate_position: float = 5e-4
    rate_scale: float = 2e-3
    rate_rotation: float = 2e-3
    rate_colour: float = 5e-3
    std: float = 5.0
    edges: float = 0.7
    l1: float = 1.0
    l2: float = 0.0
    dissimilarity: float = 0.1
    add_every: int = 500
    look_every: int = 100
    patience: int = 1000
    rise_psnr: float = 0.1
    rise_ssim: float = 1e-3
    bits: Bits | None = None
    seed: int = 123
    topk: int = 0
    blend: str = "normalised"
    form: str = "auto"

    def __post_init__(self) -> None:
        if self.steps <= ADDITIONS * self.add_every:
            raise UsageError(
                f"{self.steps} steps are over before all splats are in",
                where="steps",
                expected=f"more than {ADDITIONS} x {self.add_every}, as splats are added after "
                f"each {self.add_every}",
            )

    @classmethod
    def lasting(cls, steps: int, splats: int = 512, **options: Any) -> ImageGS:
        """A schedule of `steps` steps; a shorter one adds its splats earlier, in proportion."""
        add_every = max(1, min(cls.add_every, cls.add_every * steps // cls.steps))
        return cls(splats, steps, add_every=add_every, **options)

    @property
    def rates(self) -> tuple[float, ...]:
        """Learning rates of the eight columns of layout `rs`."""
        position, scale, colour = self.rate_position, self.rate_scale, self.rate_colour
        return position, position, scale, scale, self.rate_rotation, colour, colour, colour


@dataclass
class Plateau:
    """Tracks whether a fit still improves: the best scores, and the step of the last rise.

    Attributes:
        psnr, ssim: the best so far.
        since: step of the last rise.
        drops: how often the rates were divided by 10.
    """

    psnr: float = -math.inf
    ssim: float = -math.inf
    since: int = 0
    drops: int = 0

    def look(self, step: int, psnr: float, ssim: float, how: ImageGS) -> bool:
        """Records the scores of a step, and returns whether rates must fall now."""
        if psnr > self.psnr + how.rise_psnr or ssim > self.ssim + how.rise_ssim:
            self.psnr, self.ssim = max(psnr, self.psnr), max(ssim, self.ssim)
            self.since = step
        if step - self.since < how.patience:
            return False
        self.drops, self.since = self.drops + 1, step
        return True


@dataclass
class _One:
    """The fit of one picture.

    Attributes:
        image: (1, 3, H, W).
        likeness: gives the gradient of the error.
        way: the current splats and their moments; `go` takes a step.
        taken: number of steps of `way`, a scalar tensor.
        rates: of the eight columns.
    """

    image: Tensor
    likeness: Likeness
    generator: torch.Generator
    rates: Tensor
    taken: Tensor
    way: Descent = field(init=False)
    go: Replay = field(init=False)
    step: int = 0
    plateau: Plateau = field(default_factory=Plateau)
    ended: bool = False


class ImageGSFit:
    """A running fit of pictures of one size, each independently, by minimising

        l1 mean|error| + l2 mean error^2 + dissimilarity (1 - SSIM)

    in layout `rs`. Adam restarts with each addition of splats.

    Args:
        images: (M, 3, H, W) in [0, 1].
        how: the schedule.
    """

    def __init__(self, images: Tensor, how: ImageGS) -> None:
        self.how = how
        self.size = (images.shape[-2], images.shape[-1])
        self.cells: tuple[int, int] | None = None
        if how.splats > math.prod(self.size):
            raise UsageError(
                f"{how.splats} splats for {self.size[0]} x {self.size[1]} pixels",
                expected="no more splats than pixels",
            )
        self.ones = [self._begun(image) for image in images.split(1)]

    @property
    def left(self) -> int:
        """Largest number of steps that remain for any picture."""
        return max(0 if one.ended else self.how.steps - one.step for one in self.ones)

    def advance(self, steps: int) -> None:
        """Takes the next `steps` steps of each picture, or those that remain."""
        for one in self.ones:
            end = min(one.step + steps, self.how.steps)
            while one.step < end and not one.ended:
                self._step(one)

    def splats(self) -> Tensor:
        """The splats: (M, N, 8), layout `logcov`."""
        found = torch.cat([self._rounded(one.way.free.detach()) for one in self.ones])
        return to_logcov(found)

    def state(self) -> dict[str, Any]:
        """The state from which another process can continue exactly, by `restore`."""
        return {
            "ones": [
                {
                    "ways": [one.way.free, one.way.first, one.way.second],
                    "taken": one.way.step,
                    "step": one.step,
                    "random": one.generator.get_state(),
                    "plateau": asdict(one.plateau),
                    "ended": one.ended,
                }
                for one in self.ones
            ]
        }

    def restore(self, state: dict[str, Any]) -> None:
        """Continues from a `state`."""
        for one, saved in zip(self.ones, state["ones"], strict=True):
            free, first, second = (part.to(one.image) for part in saved["ways"])
            one.step, one.ended = saved["step"], saved["ended"]
            one.generator.set_state(saved["random"])
            one.plateau = Plateau(**saved["plateau"])
            self._set_out(one, Descent(free, first, second, saved["taken"]))

    def _begun(self, image: Tensor) -> _One:
        """A fit with ceil(N / 2) splats, a share `edges` of them in proportion to the gradient."""
        generator = torch.Generator().manual_seed(self.how.seed)
        count = math.ceil(self.how.splats / 2)
        of_edges = round(self.how.edges * count)
        slope = _slope(image[0]).flatten().cpu()
        # Without replacement: a position drawn for its gradient is not drawn again.
        places = _drawn(slope, of_edges, generator)
        rest = torch.ones_like(slope)
        rest[places] = 0
        places = torch.cat([places, _drawn(rest, count - of_edges, generator)])
        how = self.how
        likeness = Likeness(image[0], how.l1, how.l2, how.dissimilarity)
        taken = torch.zeros((), dtype=torch.float64, device=image.device)
        one = _One(image, likeness, generator, image.new_tensor(how.rates), taken)
        self._set_out(one, Descent.of(self._new(places, image)))
        return one

    def _set_out(self, one: _One, way: Descent) -> None:
        """Continues with these splats, at the rates that the plateau rule has set."""
        one.way = way
        one.taken.fill_(way.step)
        one.rates.copy_(one.rates.new_tensor(self.how.rates) / 10**one.plateau.drops)
        one.go = Replay(partial(self._move, one), one.image.device)

    def _step(self, one: _One) -> None:
        how = self.how
        if one.step and one.step % how.add_every == 0 and one.step <= ADDITIONS * how.add_every:
            self._add(one)
        one.go()
        one.way.step += 1
        one.step += 1
        self._look(one)

    def _move(self, one: _One) -> None:
        """A step of Adam, computed entirely on the picture's device."""
        free = one.way.free.detach().requires_grad_()
        found = self._drawing(self._rounded(free))
        slope = one.likeness.slope(found.detach()[0])[None]
        (gradient,) = torch.autograd.grad(found, free, slope)
        one.taken.add_(1)
        one.way.move(gradient, one.rates, (0.9, 0.999), one.taken)
        # Neither points nor without end, whatever the sign.
        scales = one.way.free[..., 2:4]
        least, most = 1 / max(self.size), 1 / STD_LEAST
        scales.copy_(torch.copysign(scales.abs().clamp(least, most), scales))

    def _look(self, one: _One) -> None:
        """Applies the plateau rule to the scores, once all splats have been added."""
        last = ADDITIONS * self.how.add_every
        if one.step % self.how.look_every or one.step <= last:
            return
        with torch.no_grad():
            found = self._drawing(self._rounded(one.way.free)).clamp(0, 1)
        reached = psnr(found, one.image).item(), ssim(found, one.image).item()
        one.plateau.since = max(one.plateau.since, last)
        if one.plateau.look(one.step, *reached, self.how):
            one.rates.div_(10)
            one.ended = one.plateau.drops > 1 and one.step >= last + FEWEST_AFTER

    def _add(self, one: _One) -> None:
        """Adds splats at positions of large error, with the missing colour."""
        there = one.way.free.shape[1]
        count = min(math.ceil(math.ceil(self.how.splats / 2) / ADDITIONS), self.how.splats - there)
        if count == 0:
            return
        with torch.no_grad():
            missing = one.image - self._drawing(self._rounded(one.way.free))
        weight = missing[0].abs().mean(0).square().flatten().cpu()
        places = _drawn(weight, count, one.generator)
        self._set_out(one, Descent.of(torch.cat([one.way.free, self._new(places, missing)], 1)))

    def _new(self, places: Tensor, colours: Tensor) -> Tensor:
        """Round splats (1, K, 8) at pixels, with the given colours."""
        height, width = self.size
        x, y = (places % width + 0.5) / width, (places // width + 0.5) / height
        scale = torch.full_like(x, 1 / self.how.std)
        shape = torch.stack([x, y, scale, scale, torch.zeros_like(x)], -1)
        picked = colours[0].flatten(1)[:, places.to(colours.device)].T
        return torch.cat([shape.to(picked), picked], -1)[None]

    def _rounded(self, free: Tensor) -> Tensor:
        return quantised(free, self.how.bits) if self.how.bits else free

    def _drawing(self, splats: Tensor) -> Tensor:
        how = self.how
        return render(
            splats, *self.size, layout="rs", blend=how.blend, topk=how.topk, form=how.form
        )


def _slope(image: Tensor) -> Tensor:
    """Squared length of the gradient of (3, H, W), summed over colours, by central differences."""
    down, across = torch.gradient(image, dim=(1, 2)) if min(image.shape[1:]) > 1 else (image, image)
    return (down.square() + across.square()).sum(0)


def _drawn(weight: Tensor, count: int, generator: torch.Generator) -> Tensor:
    """Distinct positions drawn in proportion to their weight, uniformly if all weights are 0."""
    if count == 0:
        return torch.empty(0, dtype=torch.int64)
    # A whit for every place: there may be fewer of any weight than are to be drawn.
    weight = weight + weight.mean() * 1e-6 + 1e-12
    return torch.multinomial(weight, count, replacement=False, generator=generator)
