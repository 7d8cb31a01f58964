"""A full disk, no rights, no home, a poor terminal: one clear error each, never weft's mistake."""

from __future__ import annotations

import json
import os
import shutil
import subprocess
import sys
from collections.abc import Callable, Iterator
from functools import partial
from pathlib import Path
from typing import Any

import pytest

from weft import api
from weft.cli import main
from weft.errors import RunError
from weft.papers import script

SHORT = ("steps=6", "hidden_dim=8", "log.tensorboard=false", "log.every=2", "engine.threads=1")
ROOT = hasattr(os, "getuid") and os.getuid() == 0
needs_root = pytest.mark.skipif(not ROOT, reason="mounts and other users need root")

# Verb -> its words, and whether it must write where the fault is.
VERBS: dict[str, tuple[tuple[str, ...], bool]] = {
    "train": (("train", "cet/digits", *SHORT, "run.root=m", "--quiet"), True),
    "train-dir": (("train", "cet/digits", *SHORT, "run.dir=m/new", "--quiet"), True),
    "dry-run": (("train", "cet/digits", "--dry-run", "run.root=m"), False),
    "resume": (("resume", "m/half", "--quiet"), True),
    "evaluate": (("evaluate", "m/done"), False),
    "sample": (("sample", "m/done"), True),
    "report": (("report", "m/done"), True),
    "overview": (("report", "m"), True),
    "runs": (("runs", "--root", "m"), False),
    "reproduce": (("reproduce", "cet", "--root", "m"), False),
    "sweep": (("sweep", "cet/digits", "seed=0,1", *SHORT, "--dir", "m/grid"), True),
    "search": (
        (
            "sweep",
            "cet/digits",
            "optim.lr=log:1e-3:1e-1",
            *SHORT,
            "--dir",
            "m/search",
            "--search",
            "random",
            "--trials",
            "2",
            "--metric",
            "test/loss",
        ),
        True,
    ),
    "export": (("export", "m/done", "m/program.pt2"), True),
    "export-onnx": (("export", "m/done", "m/program.onnx", "--to", "onnx"), True),
    "compare": (("compare", "m/done", "done", "--page", "m/page.html"), True),
    "rates": (
        (
            "study",
            "rates",
            "cet/digits",
            *SHORT,
            "data.use_val=true",
            "--rates",
            "1e-3",
            "--seeds",
            "1",
            "--further",
            "0",
            "--out",
            "m/rows.jsonl",
        ),
        True,
    ),
    "costs": (("study", "costs", "cet/digits"), False),
    "show": (("config", "show", "m/done/config.yaml"), False),
    "recipes": (("recipes",), False),
    "doctor": (("doctor",), False),
    "data-list": (("data", "list", "--root", "m"), False),
    "new-family": (("new-family", "thing", "--outside"), True),
}
QUICK = ("train", "resume", "report", "export")
SAID = {"full": "no space left", "read-only": "read-only", "user": "permission denied"}


def _fill(folder: Path) -> None:
    """Puts a finished run and one to be resumed into the folder."""
    for name in ("done", "half"):
        shutil.copytree("done", folder / name)
    status = folder / "half" / "status.json"
    status.write_text(json.dumps({**json.loads(status.read_text()), "state": "interrupted"}))


@pytest.fixture
def done(workspace: Path) -> None:
    """A finished run."""
    api.train("cet/digits", *SHORT, report=False, **{"run.dir": "done"})


@pytest.fixture
def place(done: None, workspace: Path) -> Iterator[Path]:
    """`m`, a small file system of its own with a finished run and one to be resumed."""
    folder = workspace / "m"
    folder.mkdir()
    mount = ["mount", "-t", "tmpfs", "-o", "size=900k", "tmpfs", str(folder)]
    if subprocess.run(mount, capture_output=True, check=False).returncode:
        pytest.skip("this machine does not let tests mount a tmpfs")
    try:
        _fill(folder)
        yield folder
    finally:
        os.chdir(workspace)
        subprocess.run(["umount", str(folder)], check=False)


def _bring(fault: str, folder: Path) -> dict[str, Any]:
    if fault == "full":
        file = os.open(folder / "fill", os.O_CREAT | os.O_WRONLY)
        try:
            while True:
                os.write(file, bytes(512))
        except OSError:
            os.close(file)
    if fault == "read-only":
        subprocess.run(["mount", "-o", "remount,ro", str(folder)], check=True)
    if fault == "user":
        for path in folder.resolve().parents[:3]:
            path.chmod(path.stat().st_mode | 0o055)
        folder.chmod(0o755)
        return {"uid": 12345, "env": {"HOME": None, "USER": None, "LOGNAME": None}}
    return {}


def _check(fault: str, verbs: tuple[str, ...], folder: Path, processes: Callable[..., Any]) -> None:
    extra = _bring(fault, folder)
    cases = [{"words": VERBS[verb][0], **extra} for verb in verbs]
    for case, verb in zip(cases, verbs, strict=True):
        if verb == "new-family":
            case["cwd"] = str(folder)
    for verb, outcome in zip(verbs, processes(cases), strict=True):
        err, writes = outcome["err"], VERBS[verb][1]
        assert "mistake in weft" not in err and "Traceback" not in err, f"{verb}: {err}"
        assert outcome["code"] == int(writes), f"{verb}: {outcome['code']} {err}"
        assert not writes or SAID[fault] in err.lower(), f"{verb}: {err}"


@pytest.mark.slow
@needs_root
@pytest.mark.parametrize("fault", ["full"])
def test_a_refusal_of_the_system_is_one_clear_error(
    fault: str, place: Path, processes: Callable[..., Any]
) -> None:
    _check(fault, QUICK, place, processes)


@needs_root
@pytest.mark.exhaustive
@pytest.mark.parametrize("fault", list(SAID))
def test_every_verb_meets_every_refusal(
    fault: str, place: Path, processes: Callable[..., Any]
) -> None:
    # A user without rights to Python's own files cannot import what these begin with.
    late = {"search", "export", "export-onnx"} if fault == "user" else set[str]()
    _check(fault, tuple(verb for verb in VERBS if verb not in late), place, processes)


@pytest.mark.slow
def test_every_verb_works_without_a_home(
    done: None, workspace: Path, processes: Callable[..., Any]
) -> None:
    (workspace / "m").mkdir()
    _fill(workspace / "m")
    gone = {"USER": None, "LOGNAME": None, "XDG_CACHE_HOME": None, "WEFT_CACHE": None}
    asked = [(verb, None) for verb in VERBS] + [("train", "/nowhere")]
    cases = [
        {
            "words": VERBS[verb][0],
            "env": {"HOME": home, **gone},
            **({"cwd": "m"} if verb == "new-family" else {}),
        }
        for verb, home in asked
    ]
    for (verb, home), outcome in zip(asked, processes(cases), strict=True):
        assert outcome["code"] == 0, f"{verb}, home {home}: {outcome['err']}"
        assert "mistake in weft" not in outcome["err"], verb


def _weft(*words: str, **env: str) -> subprocess.CompletedProcess[str]:
    command = [sys.executable, "-m", "weft", *words]
    return subprocess.run(
        command, capture_output=True, text=True, env={**os.environ, **env}, check=False
    )


@pytest.mark.parametrize(
    ("name", "text"),
    [("numpy", "raise RuntimeError('mine')"), ("queue", "mine = 1"), ("yaml", "raise KeyError(1)")],
)
def test_a_file_that_stands_in_a_package_s_way_is_named(
    name: str, text: str, workspace: Path
) -> None:
    Path(f"{name}.py").write_text(text)
    done = _weft("train", "cet/digits")
    assert done.returncode == 1
    assert f"`{name}.py` here is taken for the module of that name" in done.stderr
    assert "anew" not in done.stderr


@pytest.mark.parametrize("name", ["WORLD_SIZE", "LOCAL_RANK"])
def test_an_environment_that_only_looks_like_torchrun_s_is_told(name: str, workspace: Path) -> None:
    done = _weft("train", "cet/digits", "steps=1", **{name: "two"})
    assert done.returncode == 2 and f"{name}=two is no number" in done.stderr


def test_a_backend_that_matplotlib_does_not_know_is_not_its_installation(workspace: Path) -> None:
    done = _weft("train", "cet/digits", "steps=1", "-q", MPLBACKEND="nonsense")
    assert done.returncode == 1
    assert "an environment variable, or a file of matplotlib's" in done.stderr


def test_ascii_is_enough_for_a_table_of_options(workspace: Path) -> None:
    done = _weft("config", "schema", "cet", "--table", PYTHONIOENCODING="ascii")
    assert done.returncode == 0, done.stderr
    assert done.stdout.isascii() and "int >= 1" in done.stdout


def test_torch_that_does_not_load_is_told_and_the_rest_works(workspace: Path) -> None:
    (workspace / "torch").mkdir()
    Path("torch/__init__.py").write_text('raise OSError("libtorch_cpu.so: not there")')
    path = os.pathsep.join([str(workspace), os.environ.get("PYTHONPATH", "")])
    verbs = (["recipes"], ["config", "show", "cet/digits"], ["doctor"], ["train", "cet/digits"])
    program = f"from weft.cli import main\nprint([main(words) for words in {verbs!r}])"
    done = subprocess.run(
        [sys.executable, "-c", program],
        capture_output=True, text=True, env={**os.environ, "PYTHONPATH": path}, check=False,
    )  # fmt: skip
    assert done.stdout.splitlines()[-1] == "[0, 0, 1, 1]", done.stderr
    assert done.stderr.count("`torch` cannot be imported: OSError: libtorch_cpu.so: not there") == 2
    assert "Traceback" not in done.stderr and "mistake" not in done.stderr


@pytest.mark.skipif(not Path("/dev/full").exists(), reason="needs /dev/full")
def test_a_reader_that_left_and_an_output_that_is_full(workspace: Path) -> None:
    command = [sys.executable, "-m", "weft", "config", "schema", "cet", "--table"]
    with subprocess.Popen(command, stdout=subprocess.PIPE, stderr=subprocess.PIPE) as process:
        assert process.stdout is not None and process.stderr is not None
        process.stdout.close()
        assert process.stderr.read() == b""
    assert process.returncode == 0
    with open("/dev/full", "w") as full:
        done = subprocess.run(command, stdout=full, stderr=subprocess.PIPE, text=True, check=False)
    assert done.returncode == 1 and "no space left" in done.stderr


def test_a_folder_that_is_gone_is_told(
    workspace: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    gone = workspace / "gone"
    gone.mkdir()
    monkeypatch.chdir(gone)
    gone.rmdir()
    for command in (partial(main, ["recipes"]), partial(script.run, lambda words: None, [])):
        assert command() == 2
        assert "the folder that this was called in is gone" in capsys.readouterr().err


@pytest.mark.parametrize("name", ["../x", "a/b", "..", "a\x1b[31mb", "a\nb", "", "x" * 300])
def test_a_run_s_name_is_a_name(
    name: str, workspace: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    with pytest.raises(api.WeftError) as caught:
        api.configure("cet/digits", **{"run.name": name})
    assert caught.value.exit_code == 2 and "`run.name`" in str(caught.value)


def test_an_escape_in_a_name_does_not_reach_the_terminal(
    workspace: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    assert main(["evaluate", "a\x1b]0;title\x07b"]) == 2
    said = capsys.readouterr().err
    assert "\x1b" not in said and "\x07" not in said and "a\\x1b]0;title\\x07b" in said


def test_the_umask_decides_the_mode_of_every_file(toy: str, workspace: Path) -> None:
    umask = 0o027
    before = os.umask(umask)
    try:
        api.train(toy, **{"run.dir": "run"})
    finally:
        os.umask(before)
    modes = {str(path): path.stat().st_mode & 0o777 for path in Path("run").rglob("*")}
    wanted = {True: 0o777 & ~umask, False: 0o666 & ~umask}
    assert {p: oct(m) for p, m in modes.items() if m != wanted[Path(p).is_dir()]} == {}


def test_a_run_that_ended_before_its_first_status_starts_again(
    workspace: Path, without_pictures: None
) -> None:
    words = ("cet/digits", *SHORT)
    Path("run").mkdir()
    for name in ("lock", "config.yaml", "metrics.jsonl", ".env.json.ab.tmp"):
        (Path("run") / name).touch()
    api.train(*words, report=False, **{"run.dir": "run"})
    Path("run/status.json").unlink()
    with pytest.raises(RunError, match="not empty"):
        api.train(*words, report=False, **{"run.dir": "run"})


def test_a_page_that_cannot_be_made_names_the_verbs_that_make_it(
    workspace: Path, capsys: pytest.CaptureFixture[str], monkeypatch: pytest.MonkeyPatch
) -> None:
    from weft.reports import page
    from weft.run import samples

    monkeypatch.setattr(samples, "draw", lambda trained: [])

    def full(*_: object) -> None:
        Path("/dev/full").write_text("x")

    monkeypatch.setattr(page, "write_page", full)
    assert main(["train", "cet/digits", *SHORT, "run.dir=run", "--quiet"]) == 1
    said = capsys.readouterr().err
    assert "no space left" in said.lower() and "weft report run" in said
    assert api.runs(".")[0].state == "finished"


def test_the_hint_after_a_loss_that_is_no_number_can_be_followed(
    toy: str, workspace: Path, without_pictures: None, capsys: pytest.CaptureFixture[str]
) -> None:
    words = ["train", toy, "optim.kind=sgd", "optim.lr=1e18", "run.dir=run", "--quiet",
             "checkpoint.every=1 step", "log.tensorboard=false"]  # fmt: skip
    assert main(words) == 1
    said = capsys.readouterr().err
    assert "RUN" not in said
    slower = said.partition(": weft ")[2].partition("\n")[0].split()
    assert slower[:2] == ["resume", "run"] and main([*slower, "--quiet"]) == 1
    command = said.rpartition(": weft ")[2].strip().split()
    assert command[:2] == ["train", "run/config.yaml"] and "init=run@last" in command
    command = [word for word in command if not word.startswith("optim.lr=")]
    assert main([*command, "optim.lr=1e-3", "--quiet"]) in (0, 1)
    found = {run.name: run for run in api.runs(".")}
    assert "init" in found["run-2"].parents
