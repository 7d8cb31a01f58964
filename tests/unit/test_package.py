"""The wheel holds what weft reads at run time, and the pins cover what it needs."""

from __future__ import annotations

import re
import subprocess
import sys
import tomllib
import zipfile
from pathlib import Path

import pytest

ROOT = Path(__file__).parents[2]


@pytest.mark.slow
def test_the_wheel_holds_every_file_of_the_package(tmp_path: Path) -> None:
    subprocess.run(
        [sys.executable, "-m", "hatchling", "build", "-t", "wheel", "-d", str(tmp_path)],
        cwd=ROOT,
        check=True,
        capture_output=True,
    )
    [wheel] = tmp_path.glob("weft-*.whl")
    with zipfile.ZipFile(wheel) as archive:
        packed = set(archive.namelist())
    source = ROOT / "src"
    files = {
        path.relative_to(source).as_posix()
        for path in source.rglob("*")
        if path.is_file() and "__pycache__" not in path.parts
    }
    assert files <= packed
    assert "weft/data/digits.npz" in files
    assert any(re.fullmatch(r"weft/families/\w+/presets/\w+\.yaml", name) for name in files)


def test_every_dependency_is_pinned_to_a_version_it_allows() -> None:
    requirements = pytest.importorskip("packaging.requirements")
    project = tomllib.loads((ROOT / "pyproject.toml").read_text())["project"]
    lines = (ROOT / "constraints.txt").read_text().splitlines()
    pins = dict(line.split("==") for line in lines if not line.startswith("#"))
    pins = {name.lower(): version for name, version in pins.items()}
    for wanted in (project["dependencies"], *project["optional-dependencies"].values()):
        for requirement in map(requirements.Requirement, wanted):
            if requirement.name != "weft":
                pinned = pins[requirement.name.lower()]
                assert requirement.specifier.contains(pinned), requirement
