"""A real terminal of 60 columns: what is printed there is readable, and nothing is cut."""

from __future__ import annotations

import fcntl
import os
import pty
import re
import struct
import subprocess
import sys
import termios
from pathlib import Path

import pytest

from weft import api
from weft.cli import main

COLUMNS = 60
LONG = "a-run-with-a-name-of-its-own"
VERBS = (
    ["runs"],
    ["recipes"],
    ["evaluate", f"runs/toy/{LONG}"],
    ["reproduce", "cet"],
    ["report", "runs"],
    ["data", "list"],
    ["study"],
    ["config", "show", "toy/small"],
    ["evaluate", "nowhere"],
    ["--help"],
)
PROGRAM = f"""
from weft import families
families.BUILT_IN["toy"] = "tests.toy.family"
from weft.cli import main
for words in {VERBS!r}:
    print("##", main(words), *words)
"""


def shown(program: str, columns: int) -> str:
    """What the program leaves on a terminal of so many columns, without colours."""
    terminal, side = pty.openpty()
    fcntl.ioctl(side, termios.TIOCSWINSZ, struct.pack("HHHH", 24, columns, 0, 0))
    path = os.pathsep.join([str(Path(__file__).parents[2]), *sys.path])
    told = {"TERM": "xterm", "PYTHONPATH": path}
    env = {key: value for key, value in os.environ.items() if key not in ("COLUMNS", "LINES")}
    process = subprocess.Popen(
        [sys.executable, "-c", program], stdin=side, stdout=side, stderr=side, env={**env, **told}
    )
    os.close(side)
    found = b""
    try:
        while part := os.read(terminal, 65536):
            found += part
    except OSError:  # How a terminal says that nobody writes any more.
        pass
    finally:
        os.close(terminal)
    assert process.wait() == 0, found.decode()
    return re.sub(r"\x1b\[[0-9;?]*[A-Za-z]", "", found.decode()).replace("\r", "")


@pytest.mark.skipif(sys.platform == "win32", reason="needs a pseudo-terminal")
def test_tables_and_texts_fit_a_terminal_of_60_columns(
    toy: str, workspace: Path, without_pictures: None
) -> None:
    for name in (LONG, "other"):
        words = ("steps=2", "log.tensorboard=false", "engine.threads=1")
        api.train(toy, *words, report=False, **{"run.name": name})
    lines = shown(PROGRAM, COLUMNS).splitlines()
    ends = [number for number, line in enumerate(lines) if line.startswith("## ")]
    assert [lines[number].split()[1] for number in ends] == [*"00000000", "2", "0"]
    text = "\n".join(lines)
    assert "Traceback" not in text and "mistake in weft" not in text
    for line in lines[: ends[7]]:  # A help text's own lines, and paths in errors, are one's own.
        assert len(line) <= COLUMNS or " " not in line.strip(), line
    listed = "\n".join(lines[: ends[0]])
    assert f"runs/toy/{LONG}" in listed and "runs/toy/other" in listed and "…" not in listed
    assert re.search(r"state +finished", listed) and re.search(r"test/loss [\d.]+", listed)
    compared = "\n".join(lines[ends[2] : ends[3]])
    assert "CIFAR-10 CNN, 10 s, CET(10)" in compared and "…" not in compared


@pytest.mark.parametrize("closed", [(0,), (1,), (2,), (0, 1, 2)])
def test_closed_streams_are_nobody_s_file(closed: tuple[int, ...], tmp_path: Path) -> None:
    program = f"""
import os, sys
from weft.cli import main
code = main(["config", "show", "cet/nonsense"]), main(["config", "show", "cet/digits"])
with open({str(tmp_path / "kept")!r}, "w") as file:
    file.write(f"{{file.fileno() > 2}} {{code}}")
    for number in (1, 2):
        os.write(number, b"what a library says")
"""

    def close() -> None:
        for number in closed:
            os.close(number)

    subprocess.run(
        [sys.executable, "-c", program],
        preexec_fn=close, check=True, stdout=subprocess.DEVNULL, stderr=subprocess.DEVNULL,
    )  # fmt: skip
    assert (tmp_path / "kept").read_text() == "True (2, 0)"


@pytest.mark.parametrize("name", ["[red]a:cat:b", "a long name, " * 14 + "with an end"])
def test_the_path_of_a_run_is_printed_as_it_is_and_on_one_line(
    name: str,
    toy: str,
    workspace: Path,
    without_pictures: None,
    capsys: pytest.CaptureFixture[str],
) -> None:
    assert main(["train", toy, "steps=1", f'run.name="{name}"', "-q"]) == 0
    out = capsys.readouterr().out.splitlines()
    assert out[0] == f"runs/toy/{name}"
    assert f"run     runs/toy/{name}" in out
    assert Path(f"runs/toy/{name}").is_dir()
