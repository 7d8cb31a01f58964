"""Commands under their old names say what to type now, and work, for one release."""

from __future__ import annotations

import runpy
import subprocess
import sys
from pathlib import Path

import pytest

from weft import adapters
from weft.adapters import MOVED

# A mistake for each that its own parser or reader answers, and the answer.
CALLS = {
    "btsp_experiments": (["--batch_size=x"], "argument --batch_size/-b: invalid int value: 'x'"),
    "feedback_compare": (
        ["--seeds", "x"],
        "argument --seeds: `x` is not a whole number of at least 1",
    ),
    "feedback_train": (["feedforward_tain"], "did you mean `feedforward_train`"),
    "jepa_probes": (
        ["nowhere", "--size", "x"],
        "argument --size: `x` is not a whole number of at least 2",
    ),
    "jepa_train": (["--values", "seed"], "`seed` sets nothing"),
    "warp_contexts": (
        ["nowhere", "--period", "x"],
        "argument --period: `x` is not a whole number of at least 1",
    ),
    "warp_train": (["--config", "none.yaml"], "there is no file `none.yaml`"),
}


def test_every_old_name_has_its_module() -> None:
    home = Path(str(adapters.__file__)).parent
    assert {path.stem for path in home.glob("[a-z]*.py")} == set(MOVED) == set(CALLS)


@pytest.mark.parametrize("name", sorted(MOVED))
def test_an_old_name_tells_the_new_one_and_does_what_it_did(
    name: str,
    workspace: Path,
    monkeypatch: pytest.MonkeyPatch,
    capsys: pytest.CaptureFixture[str],
) -> None:
    words, answer = CALLS[name]
    monkeypatch.setattr(sys, "argv", [name, *words])
    monkeypatch.delitem(sys.modules, f"weft.adapters.{name}", raising=False)
    with pytest.raises(SystemExit) as ended:
        runpy.run_module(f"weft.adapters.{name}", run_name="__main__")
    assert ended.value.code == 2
    notice, *rest = capsys.readouterr().err.splitlines()
    assert notice.startswith(f"note: weft.adapters.{name} goes with the next release; type `")
    assert MOVED[name][1] in notice
    assert answer in "\n".join(rest)


def test_a_script_copied_into_an_older_run_still_works(
    workspace: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    Path("train.py").write_text(
        "from weft.adapters.feedback_train import main\n"
        'raise SystemExit(main("feedforward_train", ["--resume", "no way"]))\n'
    )
    with pytest.raises(SystemExit) as ended:
        runpy.run_path("train.py", run_name="__main__")
    assert ended.value.code == 2
    assert "neither True nor False" in capsys.readouterr().err


def test_a_process_of_its_own_gives_the_exit_code(tmp_path: Path) -> None:
    command = [sys.executable, "-m", "weft.adapters.warp_contexts", "nowhere"]
    done = subprocess.run(command, cwd=tmp_path, capture_output=True, text=True)
    assert done.returncode == 2
    assert "type `weft study contexts`" in done.stderr and "no such run" in done.stderr
