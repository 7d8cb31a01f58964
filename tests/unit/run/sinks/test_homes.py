"""Further homes of a run's numbers: what they hold, and that a run does without them."""

from __future__ import annotations

import os
import subprocess
import sys
from pathlib import Path

import pytest

import weft
from weft.run.registry import Run


def _train(*words: str) -> Run:
    done = weft.train("toy/small", "steps=12", "log.every=1", *words, report=False)
    assert done is not None
    return done


@pytest.mark.parametrize(
    ("package", "word"),
    [("mlflow.tracking", "log.mlflow.experiment=e"), ("trackio", "log.trackio.project=p")],
)
def test_a_home_that_is_not_installed_costs_a_line_and_nothing_else(
    toy: str, workspace: Path, monkeypatch: pytest.MonkeyPatch, package: str, word: str
) -> None:
    monkeypatch.setitem(sys.modules, package, None)
    done = _train(word)
    assert done.state == "finished"
    assert (done.path / "log.txt").read_text().count("warning: a log is off") == 1


MLFLOW = """
import json, sys
from pathlib import Path
from weft.config.sections import MlflowConfig
from weft.run.directory import RunDirectory
from weft.run.sinks.mlflow import Mlflow
from mlflow.tracking import MlflowClient

config = MlflowConfig(experiment="night", uri=sys.argv[1])
directory = RunDirectory(Path(sys.argv[2]))
for rows in ((1, 2), (3,)):  # The second opening is a resumed run.
    home = Mlflow(directory, config, {"optim": {"lr": 0.5}, "delay": 3})
    for step in rows:
        home.on_row(step, {"val/loss": 1.0 / step})
    home.on_end(directory, "finished")
client = MlflowClient(sys.argv[1])
(run,) = client.search_runs([client.get_experiment_by_name("night").experiment_id])
told = [(m.step, m.value) for m in client.get_metric_history(run.info.run_id, "val/loss")]
print(json.dumps([told, run.data.params, run.info.status, run.info.run_name]))
"""


@pytest.mark.slow
def test_mlflow_holds_the_rows_and_settings_of_one_run_resumed_or_not(tmp_path: Path) -> None:
    pytest.importorskip("mlflow", reason="mlflow is not installed")
    pytest.importorskip("sqlalchemy", reason="MLflow keeps its numbers in sqlite")
    import json

    (tmp_path / "run").mkdir()
    uri = f"sqlite:///{tmp_path}/mlflow.db"
    done = subprocess.run(
        [sys.executable, "-W", "ignore", "-c", MLFLOW, uri, str(tmp_path / "run")],
        capture_output=True, text=True, check=False, env=dict(os.environ),
    )  # fmt: skip
    assert done.returncode == 0, done.stderr[-2000:]
    rows, settings, status, name = json.loads(done.stdout.splitlines()[-1])
    assert rows == [[1, 1.0], [2, 0.5], [3, pytest.approx(1 / 3)]]
    assert settings == {"optim.lr": "0.5", "delay": "3"}
    assert (status, name) == ("FINISHED", "run")
