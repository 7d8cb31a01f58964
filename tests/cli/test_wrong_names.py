"""A name that nothing has is a mistake in what was asked: exit code 2, and what comes near it."""

from __future__ import annotations

from pathlib import Path

import pytest

from weft import api
from weft.cli import main

SHORT = ("steps=2", "log.tensorboard=false", "engine.threads=1")
SWEEP = ("sweep", "toy/small", "seed=0,1", "--dir", "grid")

# Words with a wrong name, and what is said of it.
WRONG = {
    "evaluate doen": "did you mean `toy/done`?",
    "evaluate toy/doen": "did you mean `toy/done`?",
    "evaluate runs/toy/doen": "did you mean `runs/toy/done`?",
    "evaluate runs/toy": "`weft runs --root runs/toy` lists those below",
    "evaluate toy/done --checkpoint 9": "expected one of last, best, 2",
    "sample doen": "did you mean `toy/done`?",
    "sample toy/done --checkpoint lats": "expected one of last, best, 2",
    "resume doen": "did you mean `toy/done`?",
    "report doen": "did you mean `toy/done`?",
    "report toy/done doen": "did you mean `toy/done`?",
    "report runs/tyo": "did you mean `runs/toy/done`?",
    "train toy/small init=doen": "did you mean `toy/done`?",
    "train toy/small init=toy/done@9": "expected one of last, best, 2",
    "train toy/smal": "did you mean `small`?",
    "sweep toy/small sed=0,1": "did you mean `seed`?",
    f"{' '.join(SWEEP)} --metric test/los": "did you mean `test/loss`",
    f"{' '.join(SWEEP)} --metric loss": "expected one of val/loss",
    "runs --root rnus": "did you mean `runs`?",
    "runs --family tyo": "did you mean `toy`?",
    "runs --state finishd": "did you mean `finished`?",
    "reproduce tyo": "did you mean `toy`?",
    "reproduce cet --root rnus": "did you mean `runs`?",
    "recipes tyo": "did you mean `toy`?",
    "bench tyo": "did you mean `toy`?",
    "config show toy/smal": "did you mean `small`?",
    "config schema tyo": "did you mean `toy`?",
    "data get mnits": "did you mean `mnist`?",
    "data check mnits": "did you mean `mnist`?",
    "data list --root rnus": "`rnus` is no folder",
    "study contextz": "did you mean `contexts`?",
    "study probes doen": "did you mean `toy/done`?",
    "study contexts doen": "did you mean `toy/done`?",
    "study probes toy/done": "has not learnt to tell where dots are",
    "study contexts toy/done": "completes no sequences",
    "runz": "did you mean 'runs'?",
}


def test_a_wrong_name_is_refused_with_what_comes_near_and_nothing_is_written(
    toy: str, workspace: Path, without_pictures: None, capsys: pytest.CaptureFixture[str]
) -> None:
    api.train(toy, *SHORT, report=False, **{"run.name": "done"})
    before = {path: path.stat().st_mtime_ns for path in workspace.rglob("*")}
    for words, says in WRONG.items():
        code = main(words.split())
        said = capsys.readouterr().err
        assert code == 2, f"weft {words}: exit code {code}\n{said}"
        assert says.lower() in said.lower(), f"weft {words}\n{said}"
    assert {path: path.stat().st_mtime_ns for path in workspace.rglob("*")} == before


def test_a_name_without_its_family_is_told_every_run_that_ends_so(
    toy: str, workspace: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    for name in ("one", "two"):
        api.train(toy, *SHORT, f"run.dir=runs/{name}/same", report=False)
    assert main(["evaluate", "same"]) == 2
    assert "did you mean `one/same` or `two/same`?" in capsys.readouterr().err
