"""Runs shown together: a sweep's page, a folder's page, and what the family draws of them."""

from __future__ import annotations

import json
import shutil
from html.parser import HTMLParser
from pathlib import Path
from urllib.parse import unquote, urlsplit

import pytest

from weft import api
from weft.cli import main

pytestmark = pytest.mark.usefixtures("points_here")


def sweep(toy: str, *words: str, folder: str) -> api.Sweep:
    return api.sweep(toy, "steps=2", "log.tensorboard=false", *words, directory=folder)


def test_a_sweep_s_page_shows_what_the_family_draws_of_its_runs(toy: str, workspace: Path) -> None:
    result = sweep(toy, "width=2,4", "seed=0..1", folder="grid")
    assert result.pictures == [Path("grid/sweep.png"), Path("grid/loss_over_width.png")]
    assert all(path.stat().st_size > 2_000 for path in result.pictures)
    page = result.page.read_text()
    assert "Loss of 4 runs over their width." in page
    assert page.index("mean ± standard error") < page.index("Loss of 4 runs")


def test_a_family_draws_nothing_of_runs_that_do_not_allow_for_it(toy: str, workspace: Path) -> None:
    result = sweep(toy, "noise=0,1", folder="grid")
    assert result.pictures == [Path("grid/sweep.png")]


def test_a_folder_above_several_sweeps_and_runs_shows_all_of_them_together(
    toy: str, workspace: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    sweep(toy, "width=2,4", folder="all/narrow")
    sweep(toy, "width=8,16", folder="all/wide")
    api.train(toy, "steps=2", "width=32", "run.dir=all/alone", "log.tensorboard=false")
    assert main(["report", "all", "--json"]) == 0
    assert json.loads(capsys.readouterr().out) == {"reports": ["all/report.html"]}
    page = Path("all/report.html").read_text()
    assert "Loss of 5 runs over their width." in page
    assert "narrow/width=2" in page
    assert '<a href="alone/report.html">alone</a>' in page
    assert Path("all/loss_over_width.png").is_file()
    assert not Path("all/sweep.png").exists()


def test_a_sweep_s_page_can_be_written_anew(toy: str, workspace: Path) -> None:
    result = sweep(toy, "width=2,4", folder="grid")
    before = result.page.read_text()
    result.page.unlink()
    assert api.report("grid").read_text() == before


NAMES = ["a#b", "a%20b", "a b", "it's", 'say "so"', "a&amp;b", "a?b=c", "<b>", "ü", "a:b", "-x"]


def test_links_to_runs_of_any_name_are_relative_and_lead_there(
    toy: str, workspace: Path, without_pictures: None
) -> None:
    made = api.train(toy, "steps=1", "log.tensorboard=false", "run.dir=all/plain", report=False)
    assert made is not None
    for name in NAMES:
        shutil.copytree("all/plain", Path("all", name))
    for folder in Path("all").iterdir():
        (folder / "report.html").touch()
    links: list[str] = []
    reader = HTMLParser()
    reader.handle_starttag = lambda tag, given: links.extend(  # type: ignore[method-assign]
        value or "" for key, value in given if (tag, key) == ("a", "href")
    )
    reader.feed(api.report("all").read_text())
    parts = [urlsplit(link) for link in links]
    assert not any(part.scheme or part.netloc or part.query or part.fragment for part in parts)
    assert not any(part.path.startswith("/") for part in parts)
    pages = {Path("all", unquote(part.path)) for part in parts}
    assert pages == {Path("all", name, "report.html") for name in [*NAMES, "plain"]}


def test_a_folder_without_runs_is_no_run(
    workspace: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    assert main(["report", "."]) == 2
    assert "this is not a run" in capsys.readouterr().err
