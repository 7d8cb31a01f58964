"""Every test of the data layer has an empty cache of its own and no $WEFT_DATA."""

from __future__ import annotations

import os
from pathlib import Path

import pytest

REAL_DATA = os.environ.get("WEFT_DATA")


@pytest.fixture(autouse=True)
def cache(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """The cache folder, empty."""
    folder = tmp_path / "cache"
    monkeypatch.setenv("WEFT_CACHE", str(folder))
    monkeypatch.delenv("WEFT_DATA", raising=False)
    return folder


@pytest.fixture
def real_data() -> Path:
    """The folder of real data sets; the test is skipped where there is none."""
    if not REAL_DATA:
        pytest.skip("WEFT_DATA is not set: no real data sets here")
    return Path(REAL_DATA)
