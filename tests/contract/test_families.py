"""Every family of the registry keeps the contract, and every preset its part of it."""

from __future__ import annotations

from pathlib import Path

import pytest

from weft import families
from weft.config.presets import preset_names
from weft.errors import DataError, MissingExtra
from weft.testing.contract import CHECKS, PRESET_CHECKS, Check, name_of

PRESETS = [
    f"{name}/{preset}"
    for name in families.names()
    for preset in preset_names(families.find(name))
    if preset not in families.find(name).generated
]
DEFAULTS = [f"{name}/{families.find(name).default}" for name in families.names()]
WHOLE = [check for check in CHECKS if check not in PRESET_CHECKS]


@pytest.fixture(scope="module")
def folder(request: pytest.FixtureRequest, tmp_path_factory: pytest.TempPathFactory) -> Path:
    """Where the runs of the recipe `request.param` lie, for all checks on it."""
    return tmp_path_factory.mktemp(request.param.replace("/", "-"))


@pytest.mark.parametrize("check", PRESET_CHECKS, ids=name_of)
@pytest.mark.parametrize("recipe", PRESETS)
def test_every_preset_keeps_its_part(recipe: str, check: Check, tmp_path: Path) -> None:
    try:
        check(recipe, tmp_path)
    except (DataError, MissingExtra) as error:
        pytest.skip(error.message)


@pytest.mark.parametrize("check", WHOLE, ids=name_of)
@pytest.mark.parametrize(
    ("recipe", "folder"), [(r, r) for r in DEFAULTS], ids=DEFAULTS, indirect=["folder"],
    scope="module",
)  # fmt: skip
def test_every_family_keeps_the_contract(recipe: str, folder: Path, check: Check) -> None:
    check(recipe, folder)


@pytest.mark.parametrize("name", families.names())
def test_every_family_of_ours_states_claims(name: str) -> None:
    assert (families.find(name).home / "claims.yaml").is_file()
