"""`weft runs` and `weft compare`: runs as a data set on the command line."""

from __future__ import annotations

import csv
import io
import json
import shutil
from pathlib import Path

import pytest

from weft import api
from weft.cli import main


@pytest.fixture
def grid(toy: str, workspace: Path) -> Path:
    for width in (2, 4):
        for seed in (0, 1):
            api.train(
                toy, "steps=2", "log.tensorboard=false", f"width={width}", f"seed={seed}",
                f"run.dir=grid/w{width}s{seed}", f"run.note=width {width}", report=False,
            )  # fmt: skip
    return Path("grid")


def _printed(capsys: pytest.CaptureFixture[str], *words: str) -> str:
    capsys.readouterr()
    assert main(list(words)) == 0
    return capsys.readouterr().out


def test_runs_are_chosen_ordered_and_printed(
    grid: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    words = ("runs", "--root", "grid", "--where", "note~'width 4' and state=finished")
    table = _printed(capsys, *words, "--sort", "-seed", "--columns", "name,seed", "--csv")
    assert list(csv.reader(io.StringIO(table))) == [["name", "seed"], ["w4s1", "1"], ["w4s0", "0"]]
    rows = json.loads(_printed(capsys, *words, "--columns", "width,seed", "--json"))
    assert rows == [{"width": 4, "seed": 0}, {"width": 4, "seed": 1}]
    assert r"\toprule" in _printed(capsys, *words, "--latex")
    assert "w4s0" in _printed(capsys, *words)
    none = _printed(capsys, "runs", "--root", "grid", "--where", "width=99")
    assert none == "no runs of `width=99` below grid\n"


def test_runs_of_one_second_are_listed_as_people_count(toy: str, workspace: Path) -> None:
    api.train(toy, "steps=1", "log.tensorboard=false", "run.dir=many/run", report=False)
    for number in (10, 2, 1):
        shutil.copytree("many/run", f"many/run-{number}")
    assert [run.name for run in api.runs("many")] == ["run", "run-1", "run-2", "run-10"]


def test_mistakes_in_what_is_asked_of_runs_are_usage_errors(
    grid: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    for words, says in (
        (("--where", "widht=4"), "did you mean `width`"),
        (("--sort", "nothing"), "no run has `nothing`"),
        (("--columns", "name,nothing"), "no run has `nothing`"),
        (("--csv", "--json"), "one of them"),
    ):
        assert main(["runs", "--root", "grid", *words]) == 2
        assert says in capsys.readouterr().err


def test_settings_are_compared_seed_by_seed_on_the_terminal_and_on_a_page(
    grid: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    told = json.loads(_printed(capsys, "compare", "grid", "--page", "new/page.html", "--json"))
    assert told["Config"]["rows"] == [{"key": "width", "width=2": "2", "width=4": "4"}]
    assert [row["n"] for row in told["Metrics"]["rows"]] == [2, 2]
    assert {row["seeds"] for row in told["Against the first"]["rows"]} == {2}
    assert "standard errors over seeds" in Path("new/page.html").read_text()
    assert "paired by seed" in " ".join(_printed(capsys, "compare", "grid/w2s0", "grid").split())


def test_one_run_alone_cannot_be_compared(grid: Path, capsys: pytest.CaptureFixture[str]) -> None:
    assert main(["compare", "grid/w2s0"]) == 2
    assert "two, or a folder" in capsys.readouterr().err
    assert main(["compare", "grid", "--metric", "test/nothing"]) == 2


def test_a_damaged_run_of_a_folder_is_no_arm_and_is_told(
    grid: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    Path("grid/w4s1/config.yaml").unlink()
    told = json.loads(_printed(capsys, "compare", "grid", "--json"))
    assert [row["n"] for row in told["Metrics"]["rows"]] == [2, 1]
    assert main(["compare", "grid"]) == 0
    assert "note: grid/w4s1 is left out: config.yaml is damaged" in capsys.readouterr().err


def test_runs_become_a_frame_and_show_themselves_in_a_notebook(grid: Path) -> None:
    found = api.runs("grid", where="width=2")
    assert list(found.frame()["width"]) == [2, 2]
    assert "<td>" in found._repr_html_() and "no runs" in api.runs("empty")._repr_html_()
    assert "<table>" in api.compare("grid")._repr_html_()
    shown = found[0]._repr_html_()
    assert "<caption>grid/w2s0</caption>" in shown
    assert f"<th>val/loss</th><td>{found[0].metrics['val/loss']:.4g}</td>" in shown


def test_a_run_is_made_longer_by_the_path_that_it_gives(grid: Path) -> None:
    longer = api.train(api.runs("grid")[0].path, "steps=3", report=False)
    assert longer is not None and longer.status["step"] == 3
