"""What families say is worth training is trained once, in order, while there is time."""

from __future__ import annotations

import json
import math
import shutil
from collections.abc import Callable, Sequence
from pathlib import Path

import pytest

from weft import families
from weft.atomic import write_text
from weft.config.layer import dotted
from weft.config.presets import preset_names
from weft.errors import ConfigError, Interrupted, UsageError
from weft.run.files import RECORD
from weft.run.registry import find_runs
from weft.sweeps import pool, reproduction, wanted
from weft.sweeps.grid import Point
from weft.sweeps.pool import Outcome, Train
from weft.sweeps.reproduction import meant, reproduce
from weft.sweeps.wanted import Entry, entries, known_as

QUICK = "steps=2 log.tensorboard=false"


@pytest.fixture
def trained(toy: str, monkeypatch: pytest.MonkeyPatch) -> list[str]:
    """Names of the runs in the order in which they are trained, here in this process."""
    order: list[str] = []

    def run_points(
        points: Sequence[Point],
        train: Train,
        workers: int | None = None,
        on_done: Callable[[Outcome], None] = lambda _: None,
        fits: Callable[[Point], bool] = lambda _: True,
        end: float = math.inf,
    ) -> list[Outcome]:
        outcomes = []
        for point in points:
            if fits(point):
                order.append(str(point.values["of"]))
                outcomes.append(Outcome(point, "done", train(point.overrides), seconds=1.0))
                on_done(outcomes[-1])
            else:
                outcomes.append(Outcome(point, "stopped"))
        return outcomes

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
    assert done.left == 1 and len(done.outcomes) == 3
    (table,) = done.tables
    assert [row["finished"] for row in table.rows] == ["2 of 2", "0 of 1", "1 of 1"]
    wide = table.rows[0]
    assert wide["metric"] == "test/loss" and wide["ours"].n == wide["loss"].n == 2
    assert "3 of 4 runs" in done.text.read_text() and "wide" in done.page.read_text()
    again = reproduce(["toy"], "cpu", root=Path("r"), workers=1)
    assert trained == ["wide", "wide", "narrow", "long"]
    assert again.left == 0


def test_each_family_s_first_entry_comes_before_any_second_seed() -> None:
    listed = {
        "cet": [Entry("a", ("cet/digits",), seeds=2), Entry("b", ("cet/digits", "delay=3"))],
        "warp": [Entry("c", ("warp/digits",))],
    }
    order = [point.point.values["of"] for point in reproduction._points(Path("r"), listed)]
    assert order == ["a", "c", "a", "b"]


def test_a_run_is_known_by_what_is_asked_and_not_by_options_that_weft_has_learnt_since(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    name = known_as(["cet/digits", "delay=3"])
    assert name == known_as(["cet/digits", "delay=3", "eval.every=5 steps"])
    assert name != known_as(["cet/digits", "delay=4"])
    monkeypatch.setattr(wanted, "dotted", lambda values: {**dotted(values), "learnt_since": 1})
    assert known_as(["cet/digits", "delay=3"]) == name


def test_what_was_learnt_is_handed_back_without_weights_and_reads_the_same(
    trained: list[str], workspace: Path
) -> None:
    done = reproduce(["toy"], "cpu", minutes=1.0, root=Path("r"), out=Path("back"))
    names = {path.name for path in Path("back").rglob("*") if path.is_file()}
    assert names == {"results.md", "report.html", *RECORD, "metrics.jsonl"}
    assert all(run.history() for run in find_runs("back"))
    at_home = reproduce(["toy"], "cpu", minutes=0.0, root=Path("back"))
    assert len(trained) == 3  # nothing was trained once more
    assert at_home.text.read_text() == done.text.read_text()
    assert at_home.tables == done.tables


def test_a_run_that_was_handed_back_unfinished_begins_anew(
    trained: list[str], workspace: Path
) -> None:
    reproduce(["toy"], "cpu", minutes=1.0, root=Path("r"), out=Path("back"))
    (run, *_) = [each for each in find_runs("back") if each.resolved]
    status = json.loads((run.path / "status.json").read_text())
    write_text(run.path / "status.json", json.dumps({**status, "state": "interrupted"}))
    again = reproduce(["toy"], "cpu", minutes=1.0, root=Path("back"))
    assert len(trained) == 4 and again.left == 1
    reproduce(["toy"], "cpu", minutes=0.0, root=Path("back"))
    # What was set aside once stays there.
    assert [path.name for path in run.path.parent.glob("*.aside*")] == [f"{run.path.name}.aside"]


def test_a_run_of_a_setting_that_is_asked_for_no_more_is_not_counted(
    trained: list[str], workspace: Path
) -> None:
    before = reproduce(["toy"], "cpu", minutes=1.0, root=Path("r")).text.read_text()
    assert "3 of 4 runs are finished" in before
    run = find_runs("r")[0]
    shutil.copytree(run.path, run.path.with_name("former,seed=0"))
    again = reproduce(["toy"], "cpu", minutes=0.0, root=Path("r")).text.read_text()
    assert again.splitlines()[2] == before.splitlines()[2]


def test_a_setting_that_was_trained_on_two_machines_names_both(
    trained: list[str], workspace: Path
) -> None:
    reproduce(["toy"], "cpu", minutes=1.0, root=Path("r"))
    for run in find_runs("r"):
        if run.name.endswith("seed=1"):
            env = json.loads((run.path / "env.json").read_text())
            write_text(run.path / "env.json", json.dumps({**env, "device_name": "another"}))
    (table,) = reproduce(["toy"], "cpu", minutes=0.0, root=Path("r")).tables
    assert str(table.rows[0]["device"]).endswith(", another")


def test_what_a_signal_stops_is_told_before_it_ends(
    trained: list[str], workspace: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    def stopped(points: Sequence[Point], *_: object) -> list[Outcome]:
        return [Outcome(point, "stopped", by="SIGTERM") for point in points]

    monkeypatch.setattr(pool, "run_points", stopped)
    with pytest.raises(Interrupted):
        reproduce(["toy"], "cpu", root=Path("r"), out=Path("back"))
    assert "0 of 4 runs" in Path("back/reproduce/cpu/results.md").read_text()


def test_a_family_without_a_list_is_told(toy: str, workspace: Path) -> None:
    with pytest.raises(UsageError, match="no run is listed for the budget"):
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
    with pytest.raises(ConfigError, match="malformed"):
        entries(family, "cpu")


@pytest.mark.parametrize("name", meant("all"))
def test_every_family_lists_recipes_that_resolve(name: str) -> None:
    family = families.find(name)
    for budget in ("smoke", "cpu", "gpu", "paper"):
        listed = entries(family, budget)
        assert listed and all(entry.minutes > 0 for entry in listed)
        for entry in listed:
            assert known_as(entry.words)
            recipe = entry.words[0].partition("/")[2]
            assert recipe in preset_names(family)
