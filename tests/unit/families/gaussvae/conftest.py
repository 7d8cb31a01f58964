"""A compressor of a small code, and how many damaged files are tried."""

from __future__ import annotations

import pytest

from tests.unit.families.gaussvae.codec.cosines import TILE, Cosines, pictures
from weft.families.gaussvae.codec.compressor import Compressor


@pytest.fixture(scope="session")
def compressor() -> Compressor:
    """Of `Cosines`, its tables those of 400 tiles."""
    return Compressor.of(Cosines(), iter(pictures(400, TILE).split(100)))


@pytest.fixture(params=[300, pytest.param(5000, marks=pytest.mark.exhaustive)])
def mutations(request: pytest.FixtureRequest) -> int:
    """How many damaged files are tried."""
    number: int = request.param
    return number
