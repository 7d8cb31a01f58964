"""Converts a checkpoint of the original to a run of weft, and a run's checkpoint back."""

from __future__ import annotations

import re
import warnings
from collections.abc import Mapping
from pathlib import Path
from typing import TYPE_CHECKING, Any, cast

from weft.config.yaml import read_file
from weft.errors import CheckpointError, UsageError
from weft.papers.feedback import checkpoints
from weft.papers.feedback.config_file import OldConfig
from weft.papers.feedback.layout import epochs
from weft.run.directory import RunDirectory, create, now

if TYPE_CHECKING:
    from torch import Tensor

    from weft.engine.parts import Parts
    from weft.engine.step import Stepper
    from weft.families.feedback.config import Config
    from weft.run.registry import Run
    from weft.task.parent import Parent

RECIPE = "feedback/original"
_NAME = re.compile(r"(?:best|epoch)_ckpt_(?P<dataset>.+?)(?:_\d+)?\.pt")
_KEYS = {"step", "model_state_dict", "optimizer_state_dict", "loss", "val_loss", "best_val_loss"}


def export(run: Run, checkpoint: str | None = None) -> dict[str, Any]:
    """A run's checkpoint with the original's keys, types and shapes, on the CPU.

    Returns: a dictionary with step, model_state_dict, optimizer_state_dict, loss (mean training
        loss of the epoch), val_loss and best_val_loss.

    Raises:
        CheckpointError: if there is no such checkpoint.
        UsageError: if the original has no such network.
    """
    from weft.engine.checkpoint import Store

    state = Store(RunDirectory(run.path).checkpoints).load(checkpoint)
    trained = run.load(str(state["progress"]["step"]))
    config = cast("Config", trained.parts.config)
    weights = checkpoints.old_names(state["model"], config)
    parameters = {k: p for k, p in trained.model.named_parameters() if p.requires_grad}
    loss, held_out = _losses(run, trained.step, adapted=config.stage != "feedforward")
    return {
        "step": trained.step,
        "model_state_dict": checkpoints.with_head(weights, config),
        "optimizer_state_dict": checkpoints.old_moments(state["optim"], parameters, config),
        "loss": loss,
        "val_loss": held_out[-1],
        "best_val_loss": min(held_out),
    }


def adopt(
    file: Path, old: OldConfig, path: Path, values: Mapping[str, Any], base: Path | None = None
) -> Path:
    """Makes a run of weft with the weights and the optimiser state of an original checkpoint.

    The run can be evaluated, sampled, resumed and used as a base like any other. The order of its
    data is weft's, not the original's.

    Args:
        file: the checkpoint.
        old: the config.json it was trained with.
        path: the new run's folder.
        values: options of weft that neither the checkpoint nor config.json gives.
        base: the base of a feedback network: a run, or weights of weft.
    Returns: the folder of the run.
    Raises:
        CheckpointError: if the file is not such a checkpoint, or does not fit config.json.
        UsageError: if a feedback network is given without its base.
    """
    from weft import api
    from weft.engine.parts import Parts
    from weft.families import find
    from weft.run.parents import find_parents

    saved = read(file)
    said = {"run.dir": str(path), **old.values, **values}
    said |= _feedback_options(saved["model_state_dict"], base, file)
    asked = api.configure(RECIPE, **said)
    parts = Parts.of(find(asked.config.family), asked.config)
    parents = find_parents(asked.config, asked.origin)
    stepper = _restored(saved, parts, parents)
    return _write(parts, stepper, saved, parents, path, f"imported from {file}")


def _feedback_options(
    weights: Mapping[str, Tensor], base: Path | None, file: Path
) -> dict[str, Any]:
    """The options of a feedback network that its weights tell; none of a feedforward network.

    Raises:
        UsageError: if it is a feedback network and there is no base.
    """
    written = [value for key, value in weights.items() if "h_qkvo" in key and value.dim() > 1]
    if not written:
        return {}
    if base is None:
        raise UsageError(
            "a feedback network needs the feedforward network it writes into",
            where=str(file),
            expected="--base: a run of weft, or one imported before",
        )
    recurrent = any("transformer.h.h_qkvo" in key for key in weights)
    return {
        "stage": "feedback",
        "mode": "compat",
        "lora_rank": written[0].shape[1] // 8,
        "recurrent": recurrent,
        "base": str(base),
    }


def _restored(saved: Mapping[str, Any], parts: Parts, parents: Mapping[str, Parent]) -> Stepper:
    """Model and optimiser in the state of an original checkpoint."""
    from weft.engine.step import Stepper

    config = cast("Config", parts.config)
    model = parts.model(parents)
    own = checkpoints.new_names(saved["model_state_dict"], model.state_dict(), config)
    model.load_state_dict(own, strict=False)
    stepper = Stepper(parts, model)
    if saved["optimizer_state_dict"]["state"]:
        trained = {k: p for k, p in model.named_parameters() if p.requires_grad}
        kept = stepper.optimiser.state_dict()
        kept = checkpoints.new_moments(saved["optimizer_state_dict"], kept, trained, config)
        stepper.optimiser.load_state_dict(kept)
    return stepper


def _write(
    parts: Parts,
    stepper: Stepper,
    saved: Mapping[str, Any],
    parents: Mapping[str, Parent],
    path: Path,
    note: str,
) -> Path:
    """Writes the folder of a run that stands where the original's checkpoint was saved."""
    from weft.engine.checkpoint import Store
    from weft.engine.loop import Progress
    from weft.engine.profile import resolved
    from weft.run.environment import environment
    from weft.run.export import export as write_weights
    from weft.run.parents import recorded

    config = parts.config
    step, metrics = int(saved["step"]), {"val/loss_original": float(saved["val_loss"])}
    new = create(config.run, config.family, path.name)
    new.write_yaml("config", config.plain(), note)
    new.write_yaml("resolved", {**resolved(parts), **recorded(parents)})
    new.write_json("env", environment(parts.device))
    progress = Progress(step=step, saved_step=step, metrics=metrics)
    state = {"family": config.family, "progress": vars(progress), "identity": parts.identity()}
    Store(new.checkpoints).save({**state, **stepper.state()}, step)
    write_weights(stepper.model, config, new.weights)
    ended = step >= parts.plan.total_steps
    new.write_json("status", {
        "state": "finished" if ended else "interrupted", "family": config.family,
        "name": path.name, "recipe": RECIPE, "total_steps": parts.plan.total_steps,
        "declared": [metric.plain() for metric in parts.task.metrics], "started": now(),
        "step": step, "updated": now(), "seconds": 0.0, "metrics": metrics, "best": None,
        "saved": step, "pid": 0, "host": "", "message": note,
    })  # fmt: skip
    new.note(note)
    new.unlock()
    return new.path


def is_original(folder: Path, name: str) -> bool:
    """Whether a folder is a run of the original that has a checkpoint called `name`."""
    files = [folder / each for each in (name, "config.json")]
    return all(file.is_file() for file in files) and not (folder / "status.json").exists()


def imported(folder: Path, name: str) -> Path:
    """The run made of a feedforward checkpoint of the original; made now, unless it exists.

    Args:
        folder: the original's run, `<out_dir>/<data set>/<name>`, with its config.json; or a copy
            of it elsewhere, if the checkpoint still has the name that it was given.
        name: of the checkpoint.
    """
    path = folder.with_name(f"{folder.name}_{Path(name).stem}")
    if not path.exists():
        old = OldConfig(folder / "config.json", _dataset(folder, name))
        adopt(folder / name, old, path, {"engine.compile": False})
    return path


def _dataset(folder: Path, name: str) -> str:
    """What a checkpoint was trained on: its name says so, or the folder above its run's."""
    known = read_file(folder / "config.json")[0].get("datasets") or ()
    told = _NAME.fullmatch(name)
    return told["dataset"] if told and told["dataset"] in known else folder.resolve().parent.name


def read(file: Path) -> dict[str, Any]:
    """Reads a file of `torch.save` without running code from it.

    Raises:
        CheckpointError: if it is no checkpoint of the original.
    """
    import torch

    expected = f"a checkpoint of the original: {', '.join(sorted(_KEYS))}"
    try:
        with warnings.catch_warnings():
            warnings.simplefilter("ignore")
            saved = torch.load(file, map_location="cpu", weights_only=True)
    # torch raises whatever its parsers do.
    except Exception as error:
        first = str(error).partition("\n")[0]
        raise CheckpointError(
            "cannot read the checkpoint", where=str(file), expected=expected, hint=f"found: {first}"
        ) from error
    if not isinstance(saved, dict) or not saved.keys() >= _KEYS:
        raise CheckpointError(
            "not a checkpoint of the original", where=str(file), expected=expected
        )
    if found := _unlike(saved):
        raise CheckpointError(
            "not a checkpoint of the original", where=str(file), expected=found,
            hint="ask for the file again where it is from, or train: `weft recipes feedback`",
        )  # fmt: skip
    return saved


def _unlike(saved: Mapping[str, Any]) -> str:
    """What was expected of an entry that no checkpoint of the original can have; "" if none."""
    from torch import Tensor

    weights, moments = saved["model_state_dict"], saved["optimizer_state_dict"]
    if not isinstance(weights, Mapping) or not all(
        isinstance(key, str) and isinstance(value, Tensor) and value.dim() > 0
        for key, value in weights.items()
    ):
        return "`model_state_dict`: tensors by name"
    if bad := [key for key, value in weights.items() if not value.isfinite().all()]:
        return f"`model_state_dict`: finite numbers in `{bad[0]}`"
    state = moments.get("state") if isinstance(moments, Mapping) else None
    if not isinstance(state, Mapping) or not all(
        isinstance(each, Mapping)
        and all(isinstance(each.get(name), Tensor) for name in ("step", "exp_avg", "exp_avg_sq"))
        for each in state.values()
    ):
        return "`optimizer_state_dict`: a `state` with step, exp_avg and exp_avg_sq, that of AdamW"
    try:
        ok = int(saved["step"]) >= 0
        float(saved["val_loss"])
    except (TypeError, ValueError, RuntimeError):
        ok = False
    return "" if ok else "`step`: a whole number, and `val_loss`: a number"


def _losses(run: Run, step: int, *, adapted: bool) -> tuple[float, list[float]]:
    """The training loss of the epoch that ended at `step`, and all validation losses up to it."""
    rows = epochs([row for row in run.history() if row["step"] <= step], adapted=adapted)
    column = 3 if adapted else 2
    found: dict[str, list[float]] = {"train": [], "val": []}
    for row in rows:
        if row[column]:
            found[row[0]].append(float(row[column]))
    nothing = [float("nan")]
    return (found["train"] or nothing)[-1], found["val"] or nothing
