"""What a step draws has one distribution, in one part, in several, and on several processes."""

from __future__ import annotations

import math
from dataclasses import replace

import pytest
import torch
from torch import Tensor

from weft import api, families
from weft.data.random import stream
from weft.engine.parts import Parts
from weft.engine.ranks import Ranks, shares

ITEMS, STEPS = 8, 300

# Recipe -> words under which it draws all it can, and what of it is drawn.
DRAWING = {
    "feedback/text": (
        ("data.block_size=32", "diffusion.stratified=false"), {"noisy", "masked", "weight"},
    ),
    "feedback/text stratified": (("data.block_size=32",), {"noisy", "masked", "weight"}),
    "warp/digits": (
        ("stochastic=true", "train_strategy=flip_coin", "nb_recons_loss_steps=5",
         "traj_train_prop=0.5"),
        {"force", "sample", "loss_steps", "position"},
    ),
    "toy/small": (("noise=1.0",), {"x"}),
}  # fmt: skip
WAYS = {
    "whole": [(1, Ranks())],
    "parts": [(4, Ranks())],
    "ranks": [(1, Ranks(0, 2)), (1, Ranks(1, 2))],
}
"""Ways to take a batch: in how many parts, on which process."""


def drawn(recipe: str, words: tuple[str, ...], seed: int, way: str) -> dict[str, Tensor]:
    """Name -> (STEPS, parts, items of a part, …) of what the parts of each step's batch hold."""
    family = families.find(recipe.partition("/")[0])
    words = (*words, f"batch_size={ITEMS}", "engine.device=cpu")
    parts = Parts.of(family, api.configure(recipe.split()[0], *words).config)
    source = parts.data().train
    rows: dict[str, list[Tensor]] = {}
    taken = source.take(source.plan(0, 0)[0], stream(0, 0, "data"))
    # One item, again and again, so that nothing differs but what is drawn.
    taken = {name: values[:1].expand_as(values) for name, values in taken.items()}
    for step in range(STEPS):
        batch = parts.task.draw(taken, replace(parts.context(step), seed=seed))
        if "weight" in batch:  # One over the share that is masked, which has a spread.
            batch["weight"] = 1 / batch["weight"]
        seen = [share for cut, ranks in WAYS[way] for share in shares(batch, cut, ranks)]
        for name in batch:
            rows.setdefault(name, []).append(torch.stack([share[name] for share in seen]))
    return {name: torch.stack(found).double() for name, found in rows.items()}


def mean(values: Tensor) -> tuple[Tensor, Tensor]:
    """Mean over steps, which are independent, and its standard error."""
    return values.mean(0), values.std(0) / math.sqrt(len(values))


def away(ours: Tensor, theirs: Tensor) -> float:
    """Difference of two means over steps, in standard errors of it."""
    (a, a_error), (b, b_error) = mean(ours), mean(theirs)
    error = (a_error.square() + b_error.square()).sqrt()
    if not bool(error):
        return 0.0 if bool(a == b) else math.inf
    return float((a - b).abs() / error)


@pytest.mark.parametrize("recipe", DRAWING)
def test_parts_and_processes_draw_from_the_distribution_of_the_whole(toy: str, recipe: str) -> None:
    words, names = DRAWING[recipe]
    whole = drawn(recipe, words, 1, "whole")
    assert names <= whole.keys()
    for seed, way in enumerate(("parts", "ranks"), start=2):
        found = drawn(recipe, words, seed, way)
        for name in names:
            center = whole[name].mean()
            for power in (1, 2):  # The mean, and the spread.
                theirs = (whole[name].flatten(1) - center).pow(power).mean(1)
                ours = (found[name].flatten(2) - center).pow(power).mean(2)
                assert away(ours.mean(1), theirs) < 3.0, (way, name, power)
                # So many parts are compared that one in a hundred is beyond 3 by chance.
                assert all(away(part, theirs) < 4.0 for part in ours.unbind(1)), (way, name)


@pytest.mark.parametrize("recipe", DRAWING)
def test_no_part_repeats_the_noise_of_another(toy: str, recipe: str) -> None:
    words, names = DRAWING[recipe]
    for way in ("parts", "ranks"):
        found = drawn(recipe, words, 4, way)
        for name in names - {"position"}:  # One choice of steps for the whole batch.
            first, second = found[name].unbind(1)[:2]
            first, second = first - first.mean(0), second - second.mean(0)
            products = (first * second).flatten(1).mean(1)
            value, error = mean(products)
            # Strata make items of a batch differ more than chance does, never less.
            assert float(value) < 3.0 * float(error), (way, name)


def test_strata_cover_the_batch_in_whatever_parts_it_is_taken() -> None:
    spread = {}
    for recipe in ("feedback/text", "feedback/text stratified"):
        share = drawn(recipe, DRAWING[recipe][0], 5, "parts")["weight"]
        spread[recipe] = float(share.flatten(1).mean(1).std())
    # The mean of a batch varies less where each stratum is drawn from once.
    assert spread["feedback/text stratified"] < 0.5 * spread["feedback/text"]
