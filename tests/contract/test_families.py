"""Every family of the registry keeps the contract, and every preset its part of it."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import pytest

from tests.golden.record import is_quick
from weft import api, families
from weft.config.presets import preset_names
from weft.errors import DataError, MissingExtra
from weft.testing.contract import (
    CHECKS,
    PRESET_CHECKS,
    Check,
    check_a_run_made_longer_equals_a_straight_run,
    check_it_builds_and_states_its_cost,
    check_samples_and_report_are_drawn,
    name_of,
)

PRESETS = [
    f"{name}/{preset}"
    for name in families.names()
    for preset in preset_names(families.find(name))
    if preset not in families.find(name).generated
]
DEFAULTS = [f"{name}/{families.find(name).default}" for name in families.names()]
WHOLE = [check for check in CHECKS if check not in PRESET_CHECKS]
SMALLER = {
    "gaussvae/demo": "data.items=64 batch_size=8 eval.pictures=4",
    "jepa/clean": "batch_size=16 n_steps=8 val_n_steps=8 val_dataset_size=64 norm_batches=2 "
    "probe.size=64 probe.batch_size=64 eval.batch_size=64",
    "feedback/text": "eval.chunks=8 eval.levels=2",
    "warp/digits-query": "batch_size=16",
}
"""Overrides under which the default suite holds a recipe to the contract; `slow` takes it whole."""
QUICK: dict[Check, tuple[str, ...]] = {
    check_samples_and_report_are_drawn: ("cet", "feedback"),
    check_a_run_made_longer_equals_a_straight_run: ("cet",),
}
"""Checks that take long, and the families of which the default suite makes them all the same."""


@pytest.fixture(scope="module")
def folder(request: pytest.FixtureRequest, tmp_path_factory: pytest.TempPathFactory) -> Path:
    """Where the runs of the recipe `request.param` lie, for all checks on it."""
    return tmp_path_factory.mktemp("contract")


def _of_presets() -> list[Any]:
    """Each preset and what holds for it. To count what a step costs takes most of a second: `slow`
    does it of those whose first losses are no test of the default suite either."""
    cases = []
    for name in PRESETS:
        quick = is_quick(*name.split("/"))
        for check in PRESET_CHECKS:
            counted = check is check_it_builds_and_states_its_cost
            marks = [pytest.mark.slow] if counted and not quick else []
            cases.append(pytest.param(name, check, id=f"{name}-{name_of(check)}", marks=marks))
    return cases


@pytest.mark.parametrize(("recipe", "check"), _of_presets())
def test_every_preset_keeps_its_part(recipe: str, check: Check, tmp_path: Path) -> None:
    try:
        check(recipe, tmp_path)
    except (DataError, MissingExtra) as error:
        pytest.skip(error.message)


@pytest.mark.parametrize("recipe", PRESETS)
def test_every_preset_is_a_setting_of_its_family(recipe: str) -> None:
    assert api.configure(recipe).config.family == recipe.partition("/")[0]


def _cases() -> list[Any]:
    """Each recipe as the default suite takes it and, where that is smaller, whole."""
    cases = []
    for recipe in DEFAULTS:
        small = f"{recipe} {SMALLER.get(recipe, '')}".strip()
        for words in dict.fromkeys((small, recipe)):
            for check in WHOLE:
                quick = words == small and recipe.startswith(QUICK.get(check, ""))
                if words == small or check not in QUICK:
                    kept = f"{recipe}{'-whole' * (words != small)}-{name_of(check)}"
                    marks = [] if quick else [pytest.mark.slow]
                    cases.append(pytest.param(words, words, check, id=kept, marks=marks))
    return cases


@pytest.mark.parametrize(
    ("recipe", "folder", "check"), _cases(), indirect=["folder"], scope="module"
)
def test_every_family_keeps_the_contract(recipe: str, folder: Path, check: Check) -> None:
    check(recipe, folder)


@pytest.mark.parametrize("name", families.names())
def test_every_family_of_ours_states_claims(name: str) -> None:
    assert (families.find(name).home / "claims.yaml").is_file()
