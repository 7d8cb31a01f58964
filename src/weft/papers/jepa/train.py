"""The command line of the JEPA paper's `train.py`: `--configs FILE... --values KEY=VALUE...`."""

from __future__ import annotations

import argparse
import json
import sys
import warnings
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import TYPE_CHECKING, Any

from weft.atomic import write_text
from weft.config.explain import suggest
from weft.config.yaml import read_file
from weft.errors import UsageError
from weft.families.jepa.config import Config
from weft.families.jepa.options.original import flat, over, translate
from weft.families.jepa.options.table import published
from weft.papers import script

if TYPE_CHECKING:
    from weft.engine.parts import Parts

USAGE = "train.py --configs FILE [FILE ...] --values KEY=VALUE [KEY=VALUE ...]"
RESULTS = "probe_metrics.json"


def uninit_baseline(argv: Sequence[str] | None = None) -> int:
    """Evaluates the untrained networks of a config; otherwise as `main`.

    Returns: the exit code.
    """
    words = list(sys.argv[1:] if argv is None else argv)
    return main([*words, "--values", "eval_only=True"])


def main(argv: Sequence[str] | None = None) -> int:
    """Trains (or evaluates) a config of the original; later files and values override earlier ones.

    If `output_path` is given, it gets the files of the original: `config.yaml`, checkpoints
    `epoch=E_sample_step=N.ckpt`, and `probe_metrics.json` with the probe's errors under their old
    names, in pixels² and pixels; and besides these the files of every run of weft.

    Returns: the exit code.
    """
    return script.run(_train_or_evaluate, argv)


def _train_or_evaluate(words: list[str]) -> None:
    flags = script.parsed(_parser(), words)
    old, files = read_configs(flags.configs, flags.values)
    if not old.get("run_name") and flags.configs:
        old["run_name"] = Path(flags.configs[-1]).stem
    with script.told(flags.set):
        if old.get("eval_only") and old.get("load_checkpoint_path"):
            _evaluate(old, files, flags.set)
        else:
            _train(old, files, flags.set)


def read_configs(paths: Sequence[str], values: Sequence[str]) -> tuple[dict[str, Any], list[str]]:
    """The original's dotted keys set by files and `key=value` words, and the files of weft.

    A path without a file stands for the published config of that file name.

    Raises:
        UsageError: for a path without a file or published config, and for a word without `=`.
    """
    old: dict[str, Any] = {}
    own: list[str] = []
    for path in paths:
        if not Path(path).is_file():
            old |= flat(_published(path))
        elif "family" in (content := read_file(Path(path))[0]):
            own.append(path)
        else:
            old |= flat(content)
    return old | script.settings(values, "--values"), own


def _published(path: str) -> Mapping[str, Any]:
    name = Path(path).stem
    if name not in published():
        raise UsageError(
            f"there is no file `{path}`",
            where="--configs",
            hint=suggest(name, list(published()), "`weft recipes` lists the published configs"),
        )
    script.note(f"there is no file `{path}`; taking the published config {name}")
    return published()[name]


def _train(old: dict[str, Any], files: list[str], extra: Sequence[str]) -> None:
    from weft import api
    from weft.papers.jepa.layout import OriginalLayout

    if old.get("load_checkpoint_path"):
        raise UsageError(
            "training does not start from the weights of another run",
            where="load_checkpoint_path",
            hint="`weft resume RUN` resumes a run; eval_only=True evaluates its weights",
        )
    words, values = _resolved(old, files, extra)
    sinks = [lambda directory: OriginalLayout(directory.path)] if old.get("output_path") else []
    run = api.train(*words, show=True, sinks=sinks, **values)
    if run is not None:
        results = _score(run.path)
        _write(run.path / RESULTS, results)
        print(f"{run.path}  rmse {results['avg_eval_loss_rmse']:.3f} px")


def _resolved(
    old: Mapping[str, Any], files: list[str], extra: Sequence[str]
) -> tuple[list[str], dict[str, Any]]:
    """Config words for weft, and values that override them.

    If there are config files of weft, the original's keys override what the files set. Otherwise
    the preset of the original's defaults is the start, and every key overrides it.
    """
    from weft import api

    if files:
        config = api.configure(*files).config
        return files, script.overlay(over(old, config.batch_size, config.epochs), extra)
    values = {key: value for key, value in translate(old, "train.py").items() if key != "family"}
    return ["jepa/original"], script.overlay(values, extra)


def _score(path: Path) -> dict[str, float]:
    from weft.run.registry import open_run

    run = open_run(path).load()
    return _results(run.parts, run.model, run.step)


def _evaluate(old: dict[str, Any], files: list[str], extra: Sequence[str]) -> None:
    """Evaluates the weights of a checkpoint that an earlier call wrote."""
    import torch

    from weft import api, families
    from weft.engine.parts import Parts

    path = Path(str(old.pop("load_checkpoint_path")))
    output = old.pop("output_path", None)
    if not old.get("probing_cfg.full_finetune"):
        # With `full_finetune` it names the objective `supervised`, alone it would name `random`.
        old.pop("eval_only")
    if not path.is_file():
        raise UsageError(f"there is no file `{path}`", where="load_checkpoint_path")
    words, values = _resolved(old, files, extra)
    parts = Parts.of(families.find("jepa"), api.configure(*words, **values).config)
    model = parts.model()
    try:
        with warnings.catch_warnings():
            warnings.simplefilter("ignore")
            saved = torch.load(path, map_location=parts.device, weights_only=True)
        model.load_state_dict(saved["model_state_dict"])
    # torch lets any error of its parsers through, and refuses code with an UnpicklingError.
    except Exception as error:
        raise UsageError(
            f"`{path}` does not hold the weights of this config",
            where="load_checkpoint_path",
            expected="a checkpoint `epoch=E_sample_step=N.ckpt` of the same config",
            hint=f"found: {type(error).__name__}: {str(error).partition(chr(10))[0]}",
        ) from error
    if bad := [name for name, value in model.state_dict().items() if not value.isfinite().all()]:
        raise UsageError(
            f"`{path}` holds weights that are no numbers",
            where="load_checkpoint_path",
            expected=f"finite numbers in `{bad[0]}`",
        )
    results = _results(parts, model.eval(), 0)
    if output:
        Path(output).mkdir(parents=True, exist_ok=True)
        _write(Path(output) / RESULTS, results)
    print(f"{path}  rmse {results['avg_eval_loss_rmse']:.3f} px")


def _results(parts: Parts, model: Any, step: int) -> dict[str, float]:
    """The probe's errors as the original logs them, and the step of training."""
    import torch

    from weft.families.jepa.score.readout import Reading
    from weft.families.jepa.sets.dots import DotsSource
    from weft.papers.jepa.names import logged

    config, source = parts.config, parts.data().test
    assert isinstance(config, Config)
    assert isinstance(source, DotsSource)
    with torch.no_grad():
        reading = Reading(config, model, source)
        readout, first = reading.readouts()
        [errors], of_first = reading.squared_errors([readout], first)
    return {
        **logged(errors, of_first, source.norm.location_scale),
        "epoch": step / parts.spec.batches_per_epoch,
        "sample_step": step * parts.spec.batch_shape[0],
        "custom_step": step,
    }


def _write(path: Path, values: Mapping[str, float]) -> None:
    write_text(path, json.dumps(values, indent=2) + "\n")


def _parser() -> argparse.ArgumentParser:
    parser = argparse.ArgumentParser(
        "train.py",
        usage=USAGE,
        description="World models of moving dots; every key of the original's configs.",
        allow_abbrev=False,
    )
    add = parser.add_argument
    add(
        "--configs",
        nargs="+",
        action="extend",
        default=[],
        metavar="FILE",
        help="files, later ones win",
    )
    add(
        "--values",
        nargs="+",
        action="extend",
        default=[],
        metavar="KEY=VALUE",
        help="such as vicreg.base_lr=42",
    )
    script.add_set(parser)
    return parser


if __name__ == "__main__":
    sys.exit(main())
