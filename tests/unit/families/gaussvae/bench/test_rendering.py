"""The benchmark of the renderer measures the forms it names, on one picture."""

from __future__ import annotations

import pytest

from weft.families.gaussvae.bench import rendering
from weft.families.gaussvae.bench.rendering import rendering_cases


def test_each_size_is_drawn_natively_and_in_the_dense_forms() -> None:
    pytest.importorskip("numba")
    found = {case.name: case for case in rendering_cases()}
    for size in (64, 128, 256):
        case = found[f"render-{size}"]
        assert list(case.forms) == ["native", "floor", "native-all", "sdpa", "gemm", "dense"]
        assert set(case.baselines) == {"floor", "sdpa", "gemm", "dense"}
    assert {name for name, case in found.items() if case.full} == {"render-256", "render-512"}


def test_forms_take_a_step() -> None:
    pytest.importorskip("numba")
    splats = rendering._splats(1, 4, 8)
    for form in rendering._case("tiny", splats, 8).forms.values():
        form().step()


def test_without_numba_the_dense_forms_are_measured(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(rendering, "has_numba", lambda: False)
    case = next(rendering_cases())
    assert list(case.forms) == ["sdpa", "gemm", "dense"] == list(case.baselines)
