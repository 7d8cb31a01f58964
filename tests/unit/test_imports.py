"""Start-up is quick: the command line imports nothing heavy before it is needed."""

from __future__ import annotations

import subprocess
import sys

import pytest

HEAVY = {
    "matplotlib",
    "numpy",
    "optuna",
    "PIL",
    "pooch",
    "pyarrow",
    "safetensors",
    "scipy",
    "tensorboard",
    "torch",
    "wandb",
}


def _modules(code: str) -> set[str]:
    """The modules that are imported once `code` has run in a fresh interpreter."""
    report = "import sys; print(*sys.modules, file=sys.stderr)"
    done = subprocess.run(
        [sys.executable, "-c", f"{code}\n{report}"], capture_output=True, text=True, check=True
    )
    return set(done.stderr.split())


def _imported(code: str) -> set[str]:
    """The top-level packages among them."""
    return {name.partition(".")[0] for name in _modules(code)}


@pytest.mark.parametrize(
    "code",
    [
        "import weft",
        "import weft.cli",
        "from weft.cli import main; assert main(['recipes']) == 0",
        "from weft.cli import main; assert main(['study']) == 0",
    ],
)
def test_nothing_heavy_is_imported_by(code: str) -> None:
    imported = _imported(code)
    assert "weft" in imported
    assert imported & HEAVY == set()


@pytest.mark.parametrize(
    ("words", "unneeded"),
    [
        # What its families and their configs cost is more than all the rest of it.
        (["--help"], {"weft.families", "weft.config.base", "weft.api", "pydantic.main", "rich"}),
        (["config", "show", "cet/digits"], {"weft.families.jepa", "weft.run.start", "rich"}),
        (["recipes", "cet"], {"weft.families.jepa", "weft.run.start", "rich"}),
    ],
)
def test_a_command_that_trains_nothing_imports_no_more_than_it_shows(
    words: list[str], unneeded: set[str]
) -> None:
    modules = _modules(f"from weft.cli import main; assert main({words}) == 0")
    assert "weft.cli" in modules
    assert modules & (unneeded | HEAVY) == set()


def test_a_run_draws_and_compiles_nothing_until_its_first_step_is_done() -> None:
    code = """if True:
        import os, sys, tempfile
        from weft.engine.loop import Trainer
        os.chdir(tempfile.mkdtemp())
        seen = []
        step = Trainer._step
        def watched(*words, **options):
            step(*words, **options)
            seen.extend(sys.modules)
            sys.exit(0)
        Trainer._step = watched
        from weft.cli import main
        main(["train", "cet/digits", "log.tensorboard=false", "-q"])
        for name in set(sys.modules) - set(seen):
            del sys.modules[name]
    """
    modules = _modules(code)
    assert "weft.engine.loop" in modules
    unneeded = {"matplotlib", "PIL", "scipy", "pandas", "tensorboard", "weft.reports.page", "rich"}
    unneeded |= {"torch._dynamo", "sympy"}  # torch's compiler, which its own optimisers import
    assert modules & unneeded == set()
