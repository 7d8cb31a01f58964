"""Diagnostics against explicit loops and known cases."""

from __future__ import annotations

import pytest
import torch

from weft.families.jepa.score.diagnostics import describe, diagnose


@pytest.mark.parametrize("shape", [(6, 4), (4, 9)])
def test_scalars_of_codes_equal_their_definitions(shape: tuple[int, int]) -> None:
    z = torch.randn(shape, generator=torch.Generator().manual_seed(0), dtype=torch.float64)
    rows, width = shape
    covariance, correlation = torch.cov(z.T), torch.corrcoef(z.T)
    off = ~torch.eye(width, dtype=torch.bool)
    cosines = [
        torch.cosine_similarity(z[i], z[j], dim=0)
        for i in range(rows)
        for j in range(rows)
        if i != j
    ]
    expected = {
        "std": z.std(0).mean(),
        "std_gap": z.std(0).max() - z.std(0).min(),
        "cov": covariance[off].square().sum() / width,
        "corr": correlation[off].square().mean().sqrt(),
        "cosine": torch.stack(cosines).mean(),
        "norm": z.norm(dim=1).mean(),
    }
    found = describe(z)
    assert found.keys() == expected.keys()
    for name, value in expected.items():
        torch.testing.assert_close(found[name], value, rtol=1e-10, atol=1e-12)


def test_codes_that_keep_only_the_background_are_all_static() -> None:
    moving = torch.randn(5, 8, 3)
    codes = {"e": torch.randn(1, 8, 3).expand(5, -1, -1), "h": moving - moving.mean(0)}
    scalars = diagnose(codes, each_step=False)
    assert scalars["static/e"] == pytest.approx(1.0, abs=1e-5)
    assert scalars["static/h"] == pytest.approx(0.0, abs=1e-6)


def test_each_step_is_looked_at_only_where_asked_for_and_there() -> None:
    codes = {"e": torch.randn(5, 8, 3), "h": torch.randn(5, 8, 3)}
    brief, full = diagnose(codes, each_step=False), diagnose(codes, each_step=True)
    assert set(brief) == {
        f"{name}/{kind}"
        for name in ("std", "std_gap", "cov", "corr", "cosine", "norm", "static")
        for kind in "eh"
    }
    assert {key for key in full if key.startswith("std/")} == {
        "std/e", "std/h",
        *(f"std/{kind}{unit}_{t}" for kind in "eh" for unit in ("", "_unit") for t in (0, 1, 3)),
    }  # fmt: skip
    assert full["norm/e_unit_3"] == pytest.approx(1.0, abs=1e-5)
    torch.testing.assert_close(full["std/h_3"], codes["h"][3].std(0).mean())
