"""Puts a run together - task, data, model, directory, recorder, loop - and sees it to its end."""

from __future__ import annotations

import json
import warnings
from collections.abc import Callable, Mapping, Sequence
from dataclasses import asdict, dataclass
from pathlib import Path
from typing import Any

import torch
from torch import nn

from weft.config.base import FamilyConfig, cadence_in_steps
from weft.config.load import Resolved, validate
from weft.config.recipe import kind_of
from weft.config.yaml import KeyPath
from weft.data.random import derive
from weft.data.source import DataSpec, Splits
from weft.engine.checkpoint import Store, read
from weft.engine.device import Ranks, check_split, choose_device, joined, prepare_cpu
from weft.engine.loop import Plan, Progress, Trainer
from weft.engine.loop import evaluate as evaluate_split
from weft.engine.profile import cost
from weft.engine.step import Stepper
from weft.errors import CheckpointError, Interrupted, RunError, UsageError, WeftError
from weft.families import find
from weft.family import Context, Family, Parent, Task
from weft.run.directory import RunDirectory, create, now
from weft.run.display import Silent, display
from weft.run.environment import environment
from weft.run.export import export, exported_config
from weft.run.parents import find_parents, kept_parents, recorded
from weft.run.record import Display, RunRecorder, Sink
from weft.run.registry import open_run

SCHEMA = 1
SinkMaker = Callable[[RunDirectory], Sink]

# Sections that may change when a run is resumed: none of them changes what is computed.
_FREE = ("log", "engine", "checkpoint")


@dataclass
class Parts:
    """A family put to work on a device: what training, evaluation and sampling share."""

    family: Family
    config: FamilyConfig
    task: Task[Any]
    spec: DataSpec
    device: torch.device

    @staticmethod
    def of(config: FamilyConfig) -> Parts:
        """Chooses the device and reads the data's headers."""
        family = find(config.family)
        prepare_cpu(config.engine.threads)
        device = choose_device(config.engine)
        task = family.load_task(config)
        return Parts(family, config, task, task.spec(), device)

    @property
    def plan(self) -> Plan:
        """Lengths in steps."""
        return Plan.of(self.config, self.spec.batches_per_epoch)

    def model(self, parents: Mapping[str, Parent] | None = None) -> nn.Module:
        """The model as the run's seed initialises it: on the CPU first, so that every device
        starts from the same numbers.

        Args:
            parents: earlier runs it starts from; none where a checkpoint is loaded next.
        """
        torch.default_generator.manual_seed(derive(self.config.seed, "init"))
        model = self.task.model(self.spec)
        if parents:
            with torch.no_grad():
                self.task.adopt(model, parents)
        return model.to(self.device)

    def data(self) -> Splits:
        """The sources, on the device."""
        return self.task.data().to(self.device)

    def context(self, step: int) -> Context:
        """A context for evaluation and sampling."""
        return Context(self.config.seed, step, self.plan.total_steps, self.device, train=False)

    def resolved(self) -> dict[str, Any]:
        """Derived values, computed once and stored with the run."""
        plan, spend = self.plan, cost(self.task, self.spec, self.config)
        return {
            "schema": SCHEMA,
            "total_steps": plan.total_steps,
            "batches_per_epoch": plan.batches_per_epoch,
            "eval_every": plan.eval_every,
            "save_every": plan.save_every,
            **{f"{split}_items": size for split, size in self.spec.sizes.items()},
            "device": str(self.device),
            **asdict(spend),
        }


def dry_run(resolved: Resolved) -> dict[str, Any]:
    """What a run would cost, where it would start from, and under `notes` what its task says of
    it; nothing is trained or written.

    Raises:
        WeftError: if the run could not start.
    """
    parts = Parts.of(resolved.config)
    parents = find_parents(resolved.config, resolved.origin)
    notes = parts.task.notes(parts.model(parents), parts.spec)
    return parts.resolved() | recorded(parents) | {"notes": list(notes)}


def start(resolved: Resolved, *, show: bool = True, sinks: Sequence[SinkMaker] = ()) -> Path | None:
    """Trains a new run.

    Args:
        resolved: the config and where it came from.
        show: whether progress goes to standard error.
        sinks: further homes for the numbers.

    Returns:
        The run's directory; None on all processes but the first of several.

    Raises:
        WeftError: before anything is written if the request cannot be carried out.
        KeyboardInterrupt: if the run was interrupted (its state is saved).
    """
    with joined() as ranks:
        parts = Parts.of(resolved.config)
        _check_split(parts, ranks)
        config = resolved.config
        parents = find_parents(config, resolved.origin)
        model, data = parts.model(parents), parts.data()
        directory = None
        if ranks.first:
            derived, surroundings = parts.resolved(), environment(parts.device)
            derived |= recorded(parents)
            directory = create(config.run, config.family, _name(resolved.recipe))
            directory.lock()
            directory.write_yaml("config", config.plain(), f"weft train {resolved.recipe}")
            directory.write_yaml("resolved", derived)
            directory.write_json("env", surroundings)
            for notice in (*resolved.notices, *map(str, parents.values())):
                directory.note(notice)
        return _run(parts, data, model, ranks, directory, None, resolved.recipe, show, sinks)


def resume(
    path: Path, overrides: Mapping[str, Any], *, show: bool = True, sinks: Sequence[SinkMaker] = ()
) -> Path | None:
    """Goes on with a run exactly where its newest good checkpoint left it.

    Args:
        path: the run's directory.
        overrides: changes below `log`, `engine` and `checkpoint`, by dotted key.
        show, sinks: as for `start`.

    Raises:
        RunError: if the run is finished, or another process writes it.
        CheckpointError: if checkpoints exist and none is good, or they are another family's; if
            there are none yet and a parent's weights are gone or changed.
    """
    with joined() as ranks:
        run = open_run(path)
        if run.status["state"] == "finished":
            raise RunError(
                "the run is finished",
                where=str(path),
                hint=f"`weft evaluate {path}` recomputes its metrics; a longer run is a new one",
            )
        config = changed(run.config, overrides, str(path / "config.yaml"))
        parts = Parts.of(config)
        _check_split(parts, ranks)
        directory = RunDirectory(path)
        if ranks.first:
            directory.lock()
        try:
            checkpoint = _store(parts, directory, directory.note).newest()
            if checkpoint is not None and checkpoint["family"] != config.family:
                raise CheckpointError(
                    f"the checkpoint belongs to family `{checkpoint['family']}`",
                    where=str(directory.checkpoints),
                    expected=f"family `{config.family}`, as config.yaml says",
                )
            recipe = str(run.status["recipe"])
            # A checkpoint holds all weights; before the first one they still are the parents'.
            parents = kept_parents(run) if checkpoint is None else None
            return _run(
                parts,
                parts.data(),
                parts.model(parents),
                ranks,
                directory if ranks.first else None,
                checkpoint,
                recipe,
                show,
                sinks,
            )
        finally:
            directory.unlock()


def changed(values: Mapping[str, Any], overrides: Mapping[str, Any], where: str) -> FamilyConfig:
    """A run's config with changes to sections that do not alter what is computed.

    Raises:
        UsageError: if another section would change.
    """
    tree = json.loads(json.dumps(values))
    for key, value in overrides.items():
        path: KeyPath = tuple(key.split("."))
        if path[0] not in _FREE or len(path) < 2:
            raise UsageError(
                f"`{key}` cannot change when a run goes on",
                expected=f"a key below {', '.join(_FREE)}",
                hint="anything else would make it another run: use `weft train`",
            )
        node = tree
        for part in path[:-1]:
            node = node.setdefault(part, {})
        node[path[-1]] = value
    return validate(tree, find(str(tree["family"])), where)


def load_model(path: Path, checkpoint: str | None = None) -> tuple[Parts, nn.Module, int]:
    """A run's model with the weights of a checkpoint: `best` where there is one, else `last`.

    Returns:
        The run's parts, the model in eval mode, and the step of the checkpoint.
    """
    run = open_run(path)
    config = validate(run.config, find(run.family), str(path / "config.yaml"))
    parts = Parts.of(config)
    store = _store(parts, RunDirectory(path), warnings.warn)
    state = read(store.find(checkpoint))
    model = parts.model()
    model.load_state_dict(state["model"])
    return parts, model.eval(), int(state["progress"]["step"])


def evaluate(path: Path, checkpoint: str | None = None) -> dict[str, float]:
    """Metrics of a run's checkpoint on every held-out split, by the code the loop uses."""
    parts, model, step = load_model(path, checkpoint)
    return _held_out(parts, model, parts.data(), step)


def _run(
    parts: Parts,
    data: Splits,
    model: nn.Module,
    ranks: Ranks,
    directory: RunDirectory | None,
    checkpoint: Mapping[str, Any] | None,
    recipe: str,
    show: bool,
    sinks: Sequence[SinkMaker],
) -> Path | None:
    config, plan = parts.config, parts.plan
    chosen = {
        section: kind_of(parts.family, section, getattr(config, section).kind)
        for section in ("optim", "schedule", "clip")
    }
    stepper = Stepper(parts.task, model, config, chosen, plan.total_steps, ranks, parts.device)
    progress = Progress()
    if checkpoint is not None:
        stepper.load(checkpoint)
        progress = Progress(**checkpoint["progress"])
    recorder = store = None
    if directory is not None:
        recorder = _recorder(parts, directory, progress, recipe, show, sinks)
        store = _store(parts, directory, recorder.note)
    trainer = Trainer(parts.task, config, data, stepper, plan, parts.device, ranks, store, recorder)
    state, message = "failed", ""
    try:
        outcome = trainer.train(progress)
        if outcome == "finished":
            if directory is not None and store is not None:
                _finish(parts, model, data, directory, store, progress)
            state = "finished"
        else:
            state, message = "interrupted", outcome
    except KeyboardInterrupt:
        state, message = "interrupted", "stopped at once; work since the last checkpoint is lost"
        raise
    except WeftError as error:
        message = error.message
        raise
    except Exception as error:
        message = f"{type(error).__name__}: {error}"
        raise
    finally:
        if recorder is not None and directory is not None:
            recorder.close(state, message)
            directory.unlock()
    if state == "interrupted":
        raise Interrupted(message, str(directory.path) if directory else "")
    return directory.path if directory else None


def _finish(
    parts: Parts,
    model: nn.Module,
    data: Splits,
    directory: RunDirectory,
    store: Store,
    progress: Progress,
) -> None:
    """Takes the best weights if something was held out to choose by, tests them once, exports."""
    best = store.best()
    if data.val is not None and best is not None:
        model.load_state_dict(read(store.find("best"))["model"])
        # The last step always counts: if it is the best, the loop has just validated it.
        splits = ("test",) if best == progress.step else ("val", "test")
        progress.metrics.update(_held_out(parts, model, data, best, splits))
    export(model, parts.config, directory.weights)


def _held_out(
    parts: Parts,
    model: nn.Module,
    data: Splits,
    step: int,
    splits: Sequence[str] = ("val", "test"),
) -> dict[str, float]:
    metrics: dict[str, float] = {}
    for split in splits:
        if getattr(data, split) is not None:
            metrics |= evaluate_split(
                parts.task,
                model,
                data,
                split,
                parts.config,
                parts.device,
                step,
                parts.plan.total_steps,
            )
    return metrics


def load_weights(path: Path) -> nn.Module:
    """The model in a `model.safetensors` that `export` wrote, in eval mode.

    Raises:
        CheckpointError: if the file is not one of weft's.
    """
    from safetensors.torch import load_model as load_tensors

    values = exported_config(path)
    config = validate(values, find(str(values["family"])), str(path))
    parts = Parts.of(config)
    model = parts.model()
    load_tensors(model, str(path), device=str(parts.device))
    return model.eval()


def _recorder(
    parts: Parts,
    directory: RunDirectory,
    progress: Progress,
    recipe: str,
    show: bool,
    sinks: Sequence[SinkMaker],
) -> RunRecorder:
    from weft.run.sinks.tensorboard import TensorBoard
    from weft.run.sinks.wandb import Wandb

    total, log = parts.plan.total_steps, parts.config.log
    shown: Display = Silent()
    if show:
        shown = display(progress.step, total, f"{parts.config.family}/{directory.path.name}")
    status = directory.path / "status.json"
    started = json.loads(status.read_text())["started"] if status.is_file() else now()
    identity = {
        "family": parts.config.family,
        "name": directory.path.name,
        "recipe": recipe,
        "total_steps": total,
        "headline": list(parts.task.headline),
        "started": started,
    }
    recorder = RunRecorder(directory, identity, progress, shown)
    recorder.status("running")
    makers = list(sinks)
    if log.tensorboard:
        makers.append(lambda d: TensorBoard(d, progress.step))
    if log.wandb.mode != "disabled":
        makers.append(lambda d: Wandb(d, log.wandb, parts.config.plain()))
    for maker in makers:
        try:
            recorder.sinks.append(maker(directory))
        except Exception as error:
            first_line = str(error).partition("\n")[0]
            recorder.note(f"warning: a log is off, the run goes on without it: {first_line}")
    recorder.note(f"{'resumed' if progress.step else 'started'} at step {progress.step} of {total}")
    return recorder


def _store(parts: Parts, directory: RunDirectory, warn: Callable[[str], None]) -> Store:
    section = parts.config.checkpoint
    forever = section.keep_every and cadence_in_steps(
        section.keep_every, parts.spec.batches_per_epoch
    )
    return Store(directory.checkpoints, section.keep, forever or None, warn)


def _check_split(parts: Parts, ranks: Ranks) -> None:
    parts_of_batch = parts.config.engine.accumulation
    check_split(parts.family.parallel, parts.spec.batch_shape[0], parts_of_batch, ranks)


def _name(recipe: str) -> str:
    """Name of the run: the last recipe's preset, or the file's stem."""
    last = recipe.split()[-1]
    return Path(last).stem if last.endswith((".yaml", ".yml", ".json")) else last.split("/")[-1]
