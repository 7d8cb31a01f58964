"""What processes cannot share out is refused; one process has nothing to share."""

from __future__ import annotations

import pytest

from weft import api, families
from weft.engine.parts import Parts
from weft.engine.ranks import Ranks
from weft.engine.step import Stepper
from weft.errors import DeviceError

SMALL = ("feedback/text", "model.n_layer=1", "model.n_head=2", "model.n_embd=16",
         "data.block_size=32", "batch_size=8", "data.download=false",
         "engine.device=cpu", "engine.shard=true")  # fmt: skip


def stepper(*words: str, processes: int) -> Stepper:
    config = api.configure(*SMALL, *words).config
    parts = Parts.of(families.find(config.family), config, Ranks(0, processes))
    return Stepper(parts, parts.model())


@pytest.mark.parametrize(
    ("word", "named"),
    [
        ("eval.ema=0.9", "eval.ema"),
        ("engine.compile=true", "engine.compile"),
        ("log.histograms=5 steps", "log.histograms"),
        ("optim={kind: extra, name: adan}", "optim.kind=extra"),
    ],
)
def test_what_needs_whole_weights_is_refused_by_name(word: str, named: str) -> None:
    with pytest.raises(DeviceError) as refused:
        stepper(word, processes=2)
    assert refused.value.where == "engine.shard"
    assert refused.value.expected == f"a run without {named}"


def test_one_process_keeps_all() -> None:
    assert stepper(processes=1).shards is None


def test_a_family_that_names_no_units_is_refused(toy: str) -> None:
    config = api.configure(toy, "engine.shard=true").config
    parts = Parts.of(families.find("toy"), config, Ranks(0, 2))
    with pytest.raises(DeviceError, match="cannot be shared out") as refused:
        Stepper(parts, parts.model())
    assert "family `toy`" in str(refused.value.expected)
