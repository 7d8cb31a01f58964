"""A data set is a module and a line: this module is one, and its tests write the line."""

from __future__ import annotations

import pytest
import torch

from weft.families.warp.config import Config
from weft.families.warp.data import data_spec, load_splits
from weft.families.warp.options.data_sets import SETS, DataSet
from weft.families.warp.sets.source import Header, Parts


def header(config: Config) -> Header:
    """Three sequences to train on and one to test on."""
    return Header(5, 2, {"train": 3, "test": 1}, num_classes=2)


def load(config: Config) -> Parts:
    """Ones and zeros."""
    label = torch.tensor([0, 1, 0])
    train = {"x": label[:, None, None].expand(3, 5, 2).float(), "label": label}
    return Parts(train, {"x": torch.ones(1, 5, 2), "label": torch.ones(1, dtype=torch.long)})


def test_a_set_of_one_s_own_is_a_module_and_a_line(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setitem(SETS, "bits", DataSet(__name__, labels=True))
    data = {"dataset": "bits", "val_share": 0}
    config = Config.model_validate({"steps": 1, "batch_size": 3, "data": data})
    spec = data_spec(config)
    assert (spec.steps, spec.channels, spec.num_classes, spec.sizes["train"]) == (5, 2, 2, 3)
    batch = next(load_splits(config).train.batches(3))
    assert batch["x"].mean((1, 2)).tolist() == batch["label"].tolist() == [0, 1, 0]


@pytest.mark.parametrize(
    "words",
    [
        {"dataset": "digits"},
        {"dataset": "uea", "subset": "Heartbeat-shaped"},
        *({"dataset": name} for name in ("trends", "spirals", "msd", "msd-zero", "msd-2")),
        *({"dataset": name} for name in ("lotka", "sine", "lorenz", "icl")),
    ],
)
def test_the_line_of_a_set_says_what_it_holds(words: dict[str, str]) -> None:
    spec = data_spec(Config.model_validate({"steps": 1, "batch_size": 1, "data": words}))
    line = SETS[words["dataset"]]
    assert line.labels == (spec.num_classes > 0)
    assert line.target == ("target" in spec.fields)
    assert line.pixels == (spec.canvas is not None)
