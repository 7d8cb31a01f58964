"""Three mistakes of a kind each, told at once by the command line, with where and what to do."""

from __future__ import annotations

from pathlib import Path

import pytest

from weft import families
from weft.cli import main
from weft.errors import ConfigError

# Overrides that break two rules of a family, and what each of the two says.
BROKEN = {
    "cet": (
        ("threshold=0.1", "binary=0.5", "carry=true", "top_quantile=0.5"),
        ("`threshold` and `binary` exclude each other", "`carry` and `top_quantile` exclude"),
    ),
    "feedback": (
        ("stage=static", "data.restrict_vocab=true", "data.tokenizer=bytes"),
        ("`stage` static adapts an earlier run", "`data.restrict_vocab` leaves nothing out"),
    ),
    "gaussvae": (
        ("kl.floor=6", "monitor=psnr", "eval.pictures=0"),
        ("`kl.floor` 6 nats asks for", "`monitor` psnr needs rendered pictures"),
    ),
    "jepa": (
        ("noise=fixed_uniform", "dataset_noise=1", "probe.prober_arch=8", "probe.kind=closed_form"),
        ("`noise` already sets", "`probe.prober_arch` has no closed form"),
    ),
    "warp": (
        ("gradient_lim=0.1", "clip.kind=none", "val_criterion=cce"),
        ("`gradient_lim` is `clip.kind` value", "`val_criterion` cce does not fit"),
    ),
}


@pytest.mark.parametrize("name", sorted(families.BUILT_IN))
def test_all_mistakes_are_told_at_once_and_nothing_is_written(
    name: str, workspace: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    words, sayings = BROKEN[name]
    general = ("steps=3", "epochs=2", "log.every=0")
    assert main(["train", name, *general, *words, "--quiet"]) == ConfigError.exit_code == 2
    printed = capsys.readouterr().err
    blocks = printed.split("config error: ")[1:]
    for saying in ("`log.every` = 0 is not allowed", "exactly one of `steps`", *sayings):
        block = next(block for block in blocks if saying in block)
        assert "(command line, override " in block.splitlines()[0], block
        assert block.splitlines()[1].startswith("  "), block
    assert list(workspace.iterdir()) == []


def test_a_stack_has_no_workers(workspace: Path, capsys: pytest.CaptureFixture[str]) -> None:
    words = ("cet/digits", "delay=1,2", "--stack", "--workers", "2")
    assert main(["sweep", *words]) == 2
    assert "one of --workers and --stack" in capsys.readouterr().err
    assert list(workspace.iterdir()) == []
