"""A family outside the repository: a copy of cet, found by its entry point."""

from __future__ import annotations

import os
import shutil
import subprocess
import sys
from pathlib import Path

import pytest

import weft
from weft import families

SOURCE = families.find("cet").home

SESSION = """
from pathlib import Path
from weft import api
from weft.cli import main

assert main(["recipes"]) == 0
short = ["steps=4", "hidden_dim=8", "log.tensorboard=false", "--quiet"]
assert main(["train", "twin/digits", *short]) == 0
print("-- trained --")
status = Path("runs/twin/digits/status.json")
status.write_text(status.read_text().replace('"finished"', '"interrupted"'))
api.sample = lambda path: []  # the page was drawn above
assert main(["resume", "runs/twin/digits", "--quiet"]) == 0
"""


@pytest.mark.slow
def test_a_copied_family_trains_resumes_and_is_listed(tmp_path: Path) -> None:
    package = tmp_path / "site" / "weft_twin"
    shutil.copytree(SOURCE, package, ignore=shutil.ignore_patterns("__pycache__"))
    for path in package.rglob("*"):
        if path.suffix in {".py", ".yaml"}:
            text = path.read_text().replace("weft.families.cet", "weft_twin")
            path.write_text(text.replace('"cet"', '"twin"').replace("cet/", "twin/"))
    metadata = tmp_path / "site" / "weft_twin-1.0.dist-info"
    metadata.mkdir()
    (metadata / "METADATA").write_text("Metadata-Version: 2.1\nName: weft-twin\nVersion: 1.0\n")
    (metadata / "entry_points.txt").write_text("[weft.families]\ntwin = weft_twin:FAMILY\n")
    places = (tmp_path / "site", Path(str(weft.__file__)).parents[1])
    environment = {**os.environ, "PYTHONPATH": os.pathsep.join(map(str, places))}

    script = tmp_path / "session.py"
    script.write_text(SESSION)
    done = subprocess.run(
        [sys.executable, str(script)],
        cwd=tmp_path, env=environment, capture_output=True, text=True, check=False,
    )  # fmt: skip
    assert done.returncode == 0, done.stderr
    listed, resumed = done.stdout.split("-- trained --")
    assert "twin/digits" in listed
    assert "test/accuracy" in resumed
