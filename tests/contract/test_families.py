"""Every family of the registry keeps the contract, and every preset its part of it."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import pytest

from weft import families
from weft.config.presets import preset_names
from weft.errors import DataError, MissingExtra
from weft.testing.contract import (
    CHECKS,
    PRESET_CHECKS,
    Check,
    check_a_run_made_longer_equals_a_straight_run,
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
    "jepa/clean": "batch_size=16 val_dataset_size=64 norm_batches=2 probe.size=64 "
    "probe.batch_size=64 eval.batch_size=64",
    "feedback/text": "eval.chunks=8 eval.levels=2",
    "warp/digits-query": "batch_size=16",
}
"""Overrides under which the default suite holds a recipe to the contract; `slow` takes it whole."""
LEARNT = {
    f"feedback/{name}": "data.dataset=text data.tokenizer_corpora=[text] data.vocab_size=384"
    for name in ("cpu-gsm8k", "cpu-wikitext")
}
"""Presets that learn tokens from two data sets, and how the default suite lets them learn from the
small text; `slow` takes them whole."""
QUICK: dict[Check, tuple[str, ...]] = {
    check_samples_and_report_are_drawn: ("cet", "feedback"),
    check_a_run_made_longer_equals_a_straight_run: ("cet",),
}
"""Checks that take long, and the families of which the default suite makes them all the same."""


@pytest.fixture(scope="module")
def folder(request: pytest.FixtureRequest, tmp_path_factory: pytest.TempPathFactory) -> Path:
    """Where the runs of the recipe `request.param` lie, for all checks on it."""
    return tmp_path_factory.mktemp("contract")


def _presets() -> list[Any]:
    """Each preset as the default suite takes it and, where that is smaller, whole."""
    quick = [pytest.param(f"{name} {LEARNT.get(name, '')}".strip(), id=name) for name in PRESETS]
    whole = [pytest.param(name, id=f"{name}-whole", marks=pytest.mark.slow) for name in LEARNT]
    return quick + whole


@pytest.mark.parametrize("check", PRESET_CHECKS, ids=name_of)
@pytest.mark.parametrize("recipe", _presets())
def test_every_preset_keeps_its_part(recipe: str, check: Check, tmp_path: Path) -> None:
    try:
        check(recipe, tmp_path)
    except (DataError, MissingExtra) as error:
        pytest.skip(error.message)


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
