"""What families say is worth training is trained once, in order, while there is time."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from pathlib import Path

import pytest

from weft import families
from weft.config.presets import preset_names
from weft.errors import ConfigError, UsageError
from weft.sweeps import pool, reproduction
from weft.sweeps.grid import Point
from weft.sweeps.pool import Outcome, Train
from weft.sweeps.reproduction import Entry, entries, meant, reproduce

QUICK = "steps=2 log.tensorboard=false"


@pytest.fixture
def trained(toy: str, monkeypatch: pytest.MonkeyPatch) -> list[str]:
    """Names of the runs in the order in which they are trained, here in this process."""
    order: list[str] = []

    def run_points(
        points: Sequence[Point],
        train: Train,
        workers: int | None = None,
        on_done: Callable[[Outcome], None] | None = None,
    ) -> list[Outcome]:
        order.extend(str(point.values["about"]) for point in points)
        return [Outcome(point, "done", train(point.overrides)) for point in points]

    listed = [
        Entry("wide", (toy, *QUICK.split(), "width=8"), seeds=2, minutes=0.1),
        Entry("long", (toy, *QUICK.split(), "width=4"), minutes=50.0),
        Entry("narrow", (toy, *QUICK.split(), "width=2"), minutes=0.1),
    ]
    monkeypatch.setattr(pool, "run_points", run_points)
    monkeypatch.setattr(reproduction, "entries", lambda family, budget: listed)
    return order


def test_runs_are_trained_by_value_as_far_as_time_goes_and_once(
    trained: list[str], workspace: Path
) -> None:
    done = reproduce(["toy"], "cpu", minutes=1.0, root=Path("r"), workers=1)
    assert trained == ["wide", "wide", "narrow"]
    assert done.left == 1
    (table,) = done.tables
    assert [row["runs"] for row in table.rows] == ["2 of 2", "0 of 1", "1 of 1"]
    assert table.rows[0]["metric"] == "test/loss" and table.rows[0]["ours"].n == 2
    assert "3 of 4 runs" in done.text.read_text() and "wide" in done.page.read_text()
    again = reproduce(["toy"], "cpu", root=Path("r"), workers=1)
    assert trained == ["wide", "wide", "narrow", "long"]
    assert again.left == 0


def test_a_family_without_a_list_is_told(toy: str, workspace: Path) -> None:
    with pytest.raises(UsageError, match="nothing is said to be worth training"):
        reproduce(["toy"], "cpu", root=Path("r"))
    assert not Path("r").exists()


@pytest.mark.parametrize(
    "content", ["weekend: []", "cpu: [{about: x}]", "cpu: [{about: x, words: cet, sede: 1}]"]
)
def test_a_wrong_list_is_told(
    toy: str, tmp_path: Path, monkeypatch: pytest.MonkeyPatch, content: str
) -> None:
    (tmp_path / "reproduce.yaml").write_text(content)
    family = families.find("toy")
    monkeypatch.setattr(type(family), "home", property(lambda self: tmp_path))
    with pytest.raises(ConfigError, match="told wrongly"):
        entries(family, "cpu")


@pytest.mark.parametrize("name", meant("all"))
def test_every_family_lists_recipes_that_resolve(name: str) -> None:
    family = families.find(name)
    for budget in ("smoke", "cpu", "gpu", "paper"):
        listed = entries(family, budget)
        assert listed and all(entry.minutes > 0 for entry in listed)
        for entry in listed:
            assert reproduction._known(entry.words)
            recipe = entry.words[0].partition("/")[2]
            assert recipe in preset_names(family)
