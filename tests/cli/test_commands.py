"""Every command as a user types it: exit codes, JSON, messages, and nothing left behind."""

from __future__ import annotations

import json
import re
from pathlib import Path
from typing import Any

import pytest

import weft
from weft import api, families
from weft.cli import main
from weft.config import load as config
from weft.reports import page
from weft.reports.tables import format_number
from weft.run import samples
from weft.sweeps import sweep as sweeps

SHORT = ("steps=6", "hidden_dim=8", "log.tensorboard=false", "log.every=2")


def call(capsys: pytest.CaptureFixture[str], *words: str) -> tuple[int, str, str]:
    code = main(list(words))
    output = capsys.readouterr()
    return code, output.out, output.err


def as_json(capsys: pytest.CaptureFixture[str], *words: str) -> Any:
    code, out, err = call(capsys, *words, "--json")
    assert code == 0, err
    return json.loads(out)


def test_three_mistakes_at_once_exit_2_and_no_directory(
    workspace: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    code, _, err = call(capsys, "train", "cet/mnist", "ordr=10", "delay=-3", "optim.lr=fast")
    assert code == 2
    assert "unknown key `ordr`   (command line, override 1)" in err
    assert "did you mean `order`?" in err
    assert "`delay` = -3 is not allowed   (command line, override 2)" in err
    assert "expected int >= 0" in err
    assert "`optim.lr` = fast is not allowed   (command line, override 3)" in err
    assert "expected number > 0" in err
    assert list(workspace.iterdir()) == []


def test_train_evaluate_sample_report_runs_reproduce(
    workspace: Path, capsys: pytest.CaptureFixture[str], monkeypatch: pytest.MonkeyPatch
) -> None:
    with monkeypatch.context() as patch:
        patch.setattr(samples, "draw", lambda trained: [])  # Its pictures are drawn below.
        trained = as_json(capsys, "train", "cet/digits", *SHORT, "--quiet")
    run = trained["run"]
    assert trained["state"] == "finished"
    assert (Path(run) / "report.html").is_file()
    assert as_json(capsys, "evaluate", run) == trained["metrics"]
    assert as_json(capsys, "evaluate", run, "--checkpoint", "6") == trained["metrics"]
    figures = as_json(capsys, "sample", run)["figures"]
    assert all(Path(figure).is_file() for figure in figures)
    assert as_json(capsys, "report", run) == {"reports": [f"{run}/report.html"]}
    assert [row["run"] for row in as_json(capsys, "runs")] == [run]
    assert as_json(capsys, "runs", "--state", "crashed") == []
    verdicts = {row["verdict"] for row in as_json(capsys, "reproduce", "cet")["rows"]}
    assert verdicts == {"not run"}
    monkeypatch.setattr(samples, "draw", lambda trained: [])
    monkeypatch.setattr(page, "write_page", lambda run, task: (run.path / "report.html").touch())
    code, out, _ = call(capsys, "train", "cet/digits", *SHORT, "--quiet")
    assert code == 0
    again = weft.runs("runs/cet/digits-2")[0]
    for metric, value in again.metrics.items():
        # Four digits each, whatever the size of the others; then unit and direction.
        words = "nats +lower" if metric.endswith("loss") else "higher"
        assert re.search(rf"{metric} +{re.escape(format_number(value))} +{words} *\n", out)
        assert re.search(rf"{metric} +\S+ +{words} *\n", call(capsys, "evaluate", run)[1])
    assert trained["declared"] == [metric.plain() for metric in again.declared] != []
    assert "report  runs/cet/digits-2/report.html" in out


def test_dry_run_costs_and_writes_nothing(
    workspace: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    cost = as_json(capsys, "train", "cet/digits", "hidden_dim=512", "batch_size=100", "--dry-run")
    hidden, inputs = 512, 64
    parameters = (inputs + 1) * hidden + (hidden + 1) * hidden + (hidden + 1) * 10
    assert cost["parameters"] == parameters
    # Three products for each layer but no input gradient for the first; and M' g for each layer,
    # of the 80 errors that arrive before the end at delay 20.
    products = 2 * 100 * (2 * inputs * hidden + 3 * hidden * hidden + 3 * hidden * 10)
    assert cost["flops_per_step"] == products + 2 * 100 * 80 * (hidden + hidden + 10)
    assert list(workspace.iterdir()) == []


def test_sweep_trains_continues_and_ends_in_a_table_and_a_plot(
    workspace: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    words = ("sweep", "cet/digits", "delay=1,5", *SHORT, "--dir", "grid")
    first = as_json(capsys, *words)
    assert [row["delay"] for row in first["table"]["rows"]] == [1, 5]
    assert Path("grid/sweep.png").stat().st_size > 2_000
    assert Path(first["report"]).is_file()
    before = {p: p.stat().st_mtime_ns for p in Path("grid").glob("*/metrics.jsonl")}
    assert len(before) == 2
    assert as_json(capsys, *words)["table"] == first["table"]
    assert {p: p.stat().st_mtime_ns for p in Path("grid").glob("*/metrics.jsonl")} == before


def test_a_mistake_in_any_point_of_a_sweep_leaves_nothing_behind(
    workspace: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    code, _, err = call(capsys, "sweep", "cet/digits", "delay=1,500", "--dir", "grid")
    assert code == 2
    assert "every error would arrive after the end" in err
    assert list(workspace.iterdir()) == []


def test_a_sweep_reads_each_config_once_and_tells_what_holds_for_all(
    workspace: Path, capsys: pytest.CaptureFixture[str], monkeypatch: pytest.MonkeyPatch
) -> None:
    read, load = [], sweeps.load
    monkeypatch.setattr(sweeps, "load", lambda *words: read.append(words) or load(*words))
    monkeypatch.setattr(config, "load", lambda *words: pytest.fail("read elsewhere, too"))
    words = ("feedback/text", "generator=assoc", "seed=0,1,2", "--metric", "none")
    code, _, err = call(capsys, "sweep", *words)
    assert code == 2 and len(read) == 3
    assert err.count("note: `generator` has no effect here") == 1


def test_config_show_tells_where_each_value_comes_from(
    capsys: pytest.CaptureFixture[str],
) -> None:
    rows = as_json(capsys, "config", "show", "cet/mnist", "delay=7", "--origin")
    assert rows["delay"] == {"value": 7, "origin": "command line, override 1"}
    assert rows["order"]["origin"].startswith("preset cet/mnist:")
    assert rows["streams"] == {"value": 1, "origin": "default"}
    code, out, _ = call(capsys, "config", "schema", "cet", "--table")
    assert code == 0
    assert "| `delay` |" in out
    assert "delay" in as_json(capsys, "config", "schema", "cet")["properties"]


def test_recipes_and_data_are_listed(capsys: pytest.CaptureFixture[str]) -> None:
    assert "cet/mnist" in {row["recipe"] for row in as_json(capsys, "recipes")}
    assert {"digits", "mnist", "cifar10"} <= {r["name"] for r in as_json(capsys, "data", "list")}
    assert as_json(capsys, "data", "check", "digits") == {"digits.npz": "ok"}


def test_old_names_are_announced_once(
    workspace: Path, without_pictures: None, capsys: pytest.CaptureFixture[str]
) -> None:
    code, _, err = call(capsys, "train", "cet/digits", "ssm_degree=3", *SHORT, "--quiet")
    assert code == 0
    assert err.count("`ssm_degree` is now `order` (command line, override 1)") == 1
    status = as_json(capsys, "config", "show", "runs/cet/digits/config.yaml")
    assert status["order"] == 4


def test_missing_data_is_a_clear_error_and_leaves_nothing_behind(
    workspace: Path, capsys: pytest.CaptureFixture[str], monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.delenv("WEFT_DATA", raising=False)
    monkeypatch.setenv("WEFT_CACHE", str(workspace / "cache"))
    code, _, err = call(capsys, "train", "cet/mnist", "data.download=false")
    assert code == 1
    assert "train-images-idx3-ubyte.gz" in err
    assert "weft data get mnist" in err
    assert list(workspace.iterdir()) == []


@pytest.mark.parametrize(
    ("words", "code", "message"),
    [
        (["train"], 2, "usage error"),
        (["train", "cet/mnits"], 2, "did you mean `mnist`"),
        (["train", "cet/digits", "engine.device=cuda:9"], 2, "no device `cuda:9`"),
        (["nonsense"], 2, "usage error"),
        (["evaluate", "nowhere"], 2, "there is no such run"),
        (["resume", "nowhere"], 2, "there is no such run"),
        (["bench", "cte"], 2, "did you mean `cet`"),
        (["bench", "jepa", "--case", "data-claen"], 2, "did you mean `data-clean`"),
        (["bench", "all", "--case", "data-clean"], 2, "one family, or loop"),
        (["data", "check", "mnits"], 2, "mnist"),
    ],
)
def test_exit_codes_and_hints(
    words: list[str], code: int, message: str, workspace: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    found, _, err = call(capsys, *words)
    assert found == code
    assert message in err
    assert list(workspace.iterdir()) == []


def test_bench_all_tells_of_every_family_that_has_one(
    monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    row = {"case": "c", "form": "weft", "device": "cpu", "median_ms": 2.0, "iqr_ms": 0.1,
           "windows": 3, "peak_mib": 1.0, "flops": 4_000_000}  # fmt: skip
    found = {"machine": {"gemm_gflops": 4.0}, "cases": [row], "ratios": {"c/weft:slow": 0.5}}
    monkeypatch.setattr(api, "bench", lambda family, **_: found)
    assert main(["bench", "all", "--markdown"]) == 0
    out = capsys.readouterr().out
    assert all(f"**{name}**" in out for name in families.BUILT_IN)
    assert out.count("| c    |") == len(families.BUILT_IN)
    assert main(["bench", "all", "--json"]) == 0
    assert set(json.loads(capsys.readouterr().out)) == set(families.BUILT_IN)
    assert main(["bench", "cet"]) == 0
    assert "c/weft:slow" in capsys.readouterr().out
