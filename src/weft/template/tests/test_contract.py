"""The family keeps what weft asks of every family."""

from __future__ import annotations

from pathlib import Path

import pytest

from weft.testing.contract import CHECKS, Check, name_of


@pytest.fixture(scope="module")
def folder(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """Where the runs lie that the checks share."""
    return tmp_path_factory.mktemp("contract")


@pytest.mark.parametrize("check", CHECKS, ids=name_of)
def test_the_contract_is_kept(check: Check, folder: Path) -> None:
    check("newcomer/small", folder)
