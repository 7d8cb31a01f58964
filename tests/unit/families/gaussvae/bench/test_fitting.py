"""The benchmark of fits measures the forms it names, and they do the same."""

from __future__ import annotations

import pytest
import torch

from weft.families.gaussvae.bench import fitting
from weft.families.gaussvae.bench.fitting import fitting_cases


def test_fits_and_updates_are_compiled_and_in_torch() -> None:
    pytest.importorskip("numba")
    fits, updates, slopes = fitting_cases()
    assert list(fits.forms) == ["compiled", "by-autograd"] and fits.baselines == ("by-autograd",)
    assert list(updates.forms) == ["compiled", "torch", "torch-fused"]
    assert list(slopes.forms) == ["compiled", "by-hand", "autograd"] and slopes.full


def test_a_step_of_each_fit_takes_all_its_steps(monkeypatch: pytest.MonkeyPatch) -> None:
    under_way, real = [], fitting.begin

    def begin(images: torch.Tensor, how: object) -> object:
        under_way.append(real(images, how))
        return under_way[-1]

    monkeypatch.setattr(fitting, "begin", begin)
    monkeypatch.setattr(fitting, "STEPS", 3)
    for form in next(fitting_cases()).forms.values():
        form().step()
    assert all(one.left == 0 and one.way.step == 3 for one in under_way)
    assert all(one.way.free.shape == (4, 64, 8) for one in under_way)


def test_all_updates_move_numbers_to_the_same_place(monkeypatch: pytest.MonkeyPatch) -> None:
    moved, real = [], fitting._numbers

    def numbers() -> object:
        moved.append(real())
        return moved[-1]

    monkeypatch.setattr(fitting, "_numbers", numbers)
    _, updates, _ = fitting_cases()
    for form in updates.forms.values():
        form().step()
    start, places = real()[0].free, [way.free for way, _ in moved]
    assert (places[0] - start).abs().min() > 0
    assert all((place - places[0]).abs().max() < 1e-6 for place in places)


def test_without_numba_torch_is_measured(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(fitting, "has_numba", lambda: False)
    assert [list(case.forms) for case in fitting_cases()] == [
        ["by-autograd"],
        ["torch", "torch-fused"],
        ["by-hand", "autograd"],
    ]
