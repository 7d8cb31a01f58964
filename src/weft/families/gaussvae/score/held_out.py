"""Metrics of held-out splat sets: losses, unexplained variance, latents, pictures."""

# M items, B batch, N splats, L latents, H x W pixels

from __future__ import annotations

from collections.abc import Callable, Iterator
from dataclasses import dataclass
from typing import Protocol

import torch
from torch import Tensor

from weft.data.source import Batch
from weft.families.gaussvae.config import Config
from weft.families.gaussvae.model import SplatVAE
from weft.families.gaussvae.objective import weighted
from weft.families.gaussvae.sets.packed_source import SplatSource
from weft.families.gaussvae.splats.quality import psnr
from weft.families.gaussvae.terms.groups import GROUPS
from weft.families.gaussvae.terms.posterior import active, kl_term
from weft.task.metric import Metric

_NAMES = {"xy": "centres", "scale": "sizes", "rot": "orientations", "feat": "colours"}


def _metrics() -> Iterator[Metric]:
    yield Metric("recon_loss", "lower", about="Sum of the groups' squared errors of z-scores.")
    yield Metric("total_loss", "lower", about="The groups' squared errors and beta times KL.")
    yield Metric("kl_loss", "lower", about="KL term as the loss has it.")
    for group, what in _NAMES.items():
        yield Metric(f"loss_{group}", "lower", about=f"Squared error of the {what}' z-scores.")
    yield Metric("fvu", "lower", about="Mean over groups of the variance left unexplained.")
    for group, what in _NAMES.items():
        about = f"Variance of the {what} left unexplained; 1 is what their mean gets."
        yield Metric(f"fvu_{group}", "lower", about=about)
        about = f"Variance of the {what} that the mean of each place in the order leaves."
        yield Metric(f"floor_{group}", "lower", about=about)
        about = f"Standard deviation of predicted {what} over that of the data."
        yield Metric(f"std_{group}", "higher", about=about)
    yield Metric("kl_nats", "lower", "nats", "KL of a picture's posterior from the prior.")
    yield Metric("active_units", "higher", about="Latents whose mean varies over pictures.")
    yield Metric("psnr", "higher", "dB", "PSNR of the decoded picture, mean over pictures.")
    yield Metric("psnr_fit", "higher", "dB", "PSNR of the splats that were encoded.")


METRICS = tuple(_metrics())


@dataclass(frozen=True)
class Latents:
    """A model's latents and output for a batch.

    Attributes:
        mean: of the posterior, (B, L).
        nats: KL of each latent of each item, (B, L).
        found: decoded z-scores, (B, N, 8).
    """

    mean: Tensor
    nats: Tensor
    found: Tensor


class Drawing(Protocol):
    """The part of a task that metrics of pictures need."""

    @property
    def config(self) -> Config:
        """Of the run."""

    def drawn(self, splats: Tensor) -> Tensor:
        """Raw splats as pictures."""

    def pictures(self, batch: Batch) -> Tensor:
        """The pictures of a batch."""


def held_out(
    task: Drawing,
    model: SplatVAE,
    source: SplatSource,
    latents: Callable[[Tensor], Latents],
    beta: float,
    progress: float,
) -> dict[str, float]:
    """All of `METRICS` over `source`.

    The unexplained variance of a column is its squared error divided by the squared distance of the
    data from the mean of the training splats, whatever z-scores the model uses; that of a group is
    the mean over its columns.

    Args:
        task: gives the config and the pictures.
        model: for its z-scores.
        source: of held-out items.
        latents: computes the model's latents and output for raw splats.
        beta: current weight of KL.
        progress: share of training that is done, for the KL term's capacity.
    """
    config, groups = task.config, GROUPS[task.config.data.layout]
    sums = _Sums(source.centre)
    means, nats = [], []
    pictures = _Pictures(task, config.eval.pictures)
    for batch in source.batches(config.eval.batch_size):
        given = latents(batch["splats"])
        means.append(given.mean)
        nats.append(given.nats)
        sums.add(model, given.found, batch["splats"])
        pictures.add(model.raw(given.found), batch)
    kl = float(kl_term(torch.cat(nats), config.kl, progress))
    scored = {name: float(sums.scored[part].mean()) for name, part in groups.items()}
    weights = weighted(config.loss, config.weights, groups)
    recon = sum(weights[name] * value for name, value in scored.items())
    found = {"recon_loss": recon, "total_loss": recon + beta * kl, "kl_loss": kl}
    found |= {f"loss_{name}": value for name, value in scored.items()}
    for measure, columns in sums.shares().items():
        found |= {f"{measure}_{name}": float(columns[part].mean()) for name, part in groups.items()}
    found["fvu"] = sum(found[f"fvu_{name}"] for name in groups) / len(groups)
    found["kl_nats"] = float(torch.cat(nats).sum(1).mean())
    found["active_units"] = active(torch.cat(means))
    return found | pictures.found()


class _Sums:
    """Sums over items and splats for each column, in float64.

    Args:
        centre: mean of the training splats of each place, (N, 8), raw.
    """

    def __init__(self, centre: Tensor) -> None:
        self.centre, self.middle = centre, centre.mean(0)
        self.count = 0
        self.totals: dict[str, Tensor] = {}

    def add(self, model: SplatVAE, found: Tensor, wanted: Tensor) -> None:
        """Adds predicted z-scores and raw splats of a batch, both (B, N, 8)."""
        raw = model.raw(found)
        off, distance = raw - self.middle, wanted - self.middle
        terms = {
            "scored": (found - model.standardised(wanted)).square(),
            "error": (raw - wanted).square(),
            "distance": distance.square(),
            "floor": (wanted - self.centre).square(),
            "off": off,
            "off2": off.square(),
            "shift": distance,
        }
        for name, values in terms.items():
            total = values.double().sum((0, 1))
            self.totals[name] = self.totals[name] + total if name in self.totals else total
        self.count += wanted.shape[0] * wanted.shape[1]

    @property
    def scored(self) -> Tensor:
        """Mean squared error of z-scores, (8,)."""
        return self.totals["scored"] / self.count

    def shares(self) -> dict[str, Tensor]:
        """`fvu`, `floor` and `std`, each (8,)."""
        mean = {name: total / self.count for name, total in self.totals.items()}
        least = 1e-12
        spread = (mean["distance"] - mean["shift"].square()).clamp(min=least).sqrt()
        return {
            "fvu": mean["error"] / mean["distance"].clamp(min=least),
            "floor": mean["floor"] / mean["distance"].clamp(min=least),
            "std": (mean["off2"] - mean["off"].square()).clamp(min=0).sqrt() / spread,
        }


class _Pictures:
    """PSNR of the first `most` items, of decoded splats and of the encoded ones."""

    def __init__(self, task: Drawing, most: int) -> None:
        self.task, self.left = task, most
        self.decoded, self.fitted = list[Tensor](), list[Tensor]()

    def add(self, splats: Tensor, batch: Batch) -> None:
        """Renders the items of a batch that still belong to the first `most`.

        Args:
            splats: decoded, raw, (B, N, 8).
            batch: the true items.
        """
        few = {name: tensor[: self.left] for name, tensor in batch.items()}
        if not (count := len(few["splats"])):
            return
        self.left -= count
        wanted = self.task.pictures(few)
        self.decoded.append(psnr(self.task.drawn(splats[:count]).clamp(0, 1), wanted))
        if "image" in batch:
            self.fitted.append(psnr(self.task.drawn(few["splats"]).clamp(0, 1), wanted))

    def found(self) -> dict[str, float]:
        """The means."""
        kept = {"psnr": self.decoded, "psnr_fit": self.fitted}
        return {name: float(torch.cat(parts).mean()) for name, parts in kept.items() if parts}
