"""The forms that `weft bench` compares make batches of the same kind."""

from __future__ import annotations

import pytest
import torch

from weft.families.jepa.bench.batches import data_cases
from weft.task.bench import Case


@pytest.mark.parametrize("case", [c for c in data_cases() if not c.full], ids=lambda c: c.name)
def test_both_forms_of_a_case_make_batches_of_the_same_shape(case: Case) -> None:
    assert case.baselines == ("reference",)
    with torch.random.fork_rng(devices=[]):
        made = {name: build().step() for name, build in case.forms.items()}
    shapes = [{k: v.shape for k, v in batch.items() if k != "action"} for batch in made.values()]  # type: ignore[attr-defined]
    assert shapes[0] == shapes[1]
    assert shapes[0]["image"] == (64, 17, 1, 28, 28)
