"""The wheel holds what weft reads at run time, and the pins cover what it needs."""

from __future__ import annotations

import os
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


@pytest.mark.network
def test_the_lowest_versions_that_are_declared_train_draw_and_sweep(tmp_path: Path) -> None:
    """All but torch's, whose packages are too large to be fetched for a test."""
    requirements = pytest.importorskip("packaging.requirements")
    project = tomllib.loads((ROOT / "pyproject.toml").read_text())["project"]
    lowest = {
        wanted.name: str(wanted.specifier).replace(">=", "==")
        for wanted in map(requirements.Requirement, project["dependencies"])
    }
    del lowest["torch"]
    old = tmp_path / "old"
    pip = [sys.executable, "-m", "pip", "install", "-q", "--target", str(old)]
    subprocess.run([*pip, *(f"{name}{version}" for name, version in lowest.items())], check=True)
    paths = os.pathsep.join((str(old), str(ROOT / "src")))
    environment = {**os.environ, "PYTHONPATH": paths, "OMP_NUM_THREADS": "1"}
    short = ("cet/digits", "steps=2", "hidden_dim=8")
    for words in (
        ("--help",),
        ("train", *short, "run.dir=run", "--quiet"),
        ("sample", "run"),
        ("sweep", *short, "delay=1,5", "--workers", "1"),
    ):
        command = [sys.executable, "-m", "weft", *words]
        done = subprocess.run(
            command, cwd=tmp_path, env=environment, capture_output=True, text=True, check=False
        )
        assert done.returncode == 0, done.stderr
