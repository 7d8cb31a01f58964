"""The verbs of weft for notebooks and programs; the command line calls these."""

from __future__ import annotations

import warnings
from collections.abc import Callable, Collection, Sequence
from fnmatch import fnmatchcase
from pathlib import Path
from typing import TYPE_CHECKING, Any, Literal

from weft import families
from weft.config.explain import suggest
from weft.config.load import Resolved
from weft.config.load import load as load_config
from weft.config.presets import presets
from weft.config.yaml import read_value
from weft.errors import UsageError, WeftError
from weft.run.named import Which, as_word, continued, folder_named, named
from weft.run.registry import Run, find_runs, is_run

if TYPE_CHECKING:
    from torch import nn

    from weft.reports.comparison import Comparison
    from weft.reports.notebook import Runs
    from weft.reports.tables import Table
    from weft.run.recorder import SinkMaker
    from weft.run.sinks.hooks import OnEvaluate, OnStep
    from weft.sweeps.pool import Outcome
    from weft.sweeps.reproduction import Reproduction
    from weft.sweeps.sweep import Sweep
    from weft.task.writing import Writing, Written


def configure(*words: Which, **overrides: Any) -> Resolved:
    """The config that recipe names, files and `key=value` words resolve to.

    Keyword arguments override by key; nested keys as `optim={"lr": 1e-3}` or
    `**{"optim.lr": 1e-3}`.

    Raises:
        ConfigError: listing every mistake with its origin.
    """
    return load_config(words, families, overrides)


def recipes(pattern: str | None = None) -> list[dict[str, str]]:
    """One row for each preset: its recipe name (`recipe`) and what it is (`about`).

    A family that does not load has a single row, whose `broken` says why.

    Args:
        pattern: only these: a family's name, or a pattern of recipe names such as `jepa/*idm*`.

    Raises:
        PluginError: if `pattern` names a family that does not load.
        UsageError: if no recipe matches.
    """
    broken: dict[str, WeftError] = {}
    of_one_family = pattern is not None and not any(sign in pattern for sign in "*?[/")
    if of_one_family:
        found = {str(pattern): presets(families.find(str(pattern)))}
    else:
        found, broken = families.survey()
    rows = []
    for name, known in found.items():
        family = families.find(name)
        for each, preset in known.items():
            default = " (default)" if each == family.default else ""
            about = (preset.about or family.summary) + default
            rows.append({"recipe": f"{name}/{each}", "about": about})
    for name, error in broken.items():
        rows.append({"recipe": name, "about": f"broken: {error.brief}", "broken": error.brief})
    if pattern is None or of_one_family:
        return rows
    if not (matching := [row for row in rows if fnmatchcase(row["recipe"], pattern)]):
        raise UsageError(
            f"no recipe is called `{pattern}`",
            expected="a family, or a pattern such as `jepa/*idm*`",
            hint=suggest(pattern, [row["recipe"] for row in rows], "`weft recipes` lists them"),
        )
    return matching


def dry_run(*words: Which, **overrides: Any) -> dict[str, Any]:
    """What a run would cost - parameters, FLOPs, memory, steps - without training it."""
    from weft.run import start

    return start.dry_run(configure(*words, **overrides))


def mean_flops(*words: str) -> float:
    """FLOPs of one training step; the mean over steps where chance decides what a step does."""
    from weft.run import start

    return start.mean_flops(configure(*words))


def train(
    *words: Which,
    show: bool = False,
    report: bool = True,
    sinks: Sequence[SinkMaker] = (),
    on_step: OnStep | None = None,
    on_evaluate: OnEvaluate | None = None,
    **overrides: Any,
) -> Run | None:
    """Trains a run from recipe names, files and overrides.

    Args:
        words: `cet/mnist`, files, `key=value`, lowest precedence first; or a finished run and its
            new `steps=N` or `epochs=N`: it goes on in a new directory.
        show: whether progress goes to standard error.
        report: whether figures and the report page are made at the end.
        sinks: further sinks that receive the scalars, beside the run's own files.
        on_step: called with the step and its scalars whenever a step is logged.
        on_evaluate: called with the step and the metrics; giving True ends the run there.
        overrides: config values by key, e.g. `delay=20`.

    Returns:
        The finished run; None on all processes but the first under torchrun.
    """
    from weft.reports.finish import finish
    from weft.run.lengthen import changes, lengthen
    from weft.run.recorder import Followers
    from weft.run.sinks.hooks import Hooks
    from weft.run.start import start

    if on_step is not None or on_evaluate is not None:
        sinks = (*sinks, lambda _: Hooks(on_step, on_evaluate))
    followers = Followers(show, sinks)
    if (run := continued(words)) is not None:
        return finish(lengthen(run, changes(words, overrides), followers), report)
    return finish(start(configure(*words, **overrides), followers), report)


def resume(
    path: Which,
    *words: str,
    show: bool = False,
    report: bool = True,
    sinks: Sequence[SinkMaker] = (),
    accept: str | Collection[str] = (),
) -> Run | None:
    """Goes on with an interrupted or crashed run, bit for bit on a CPU.

    Args:
        path: the run's directory, or its `family/name` below runs/.
        words: `key=value` changes below `log`, `engine` and `checkpoint`; another `steps` or
            `epochs` makes it longer, also if it is finished.
        show, report, sinks: as for `train`.
        accept: what may have changed since its checkpoints were written (`config`, `data`) or may
            be missing (`checkpoints`); anything else that changed is an error.
    """
    from weft.reports.finish import finish
    from weft.run.recorder import Followers
    from weft.run.resume import acceptable, resume

    allowed, run = acceptable(accept), named(path)
    pairs = [word.partition("=") for word in words]
    changes = {key: read_value(text, "command line") for key, _, text in pairs}
    return finish(resume(run.path, changes, Followers(show, sinks), allowed), report)


def evaluate(
    path: Which,
    checkpoint: str | None = None,
    accept: str | Collection[str] = (),
    tell: Callable[[str], None] = warnings.warn,
) -> dict[str, float]:
    """Recomputes the metrics of a checkpoint on every held-out split.

    Args:
        path: the run's directory, or its `family/name` below runs/.
        checkpoint: `best`, `last` or a step; by default the best where there is one, else the last.
        accept: `config` or `data`: what may have changed since the checkpoint was written.
        tell: called with a line of text for each difference or damaged file that was passed over.

    Returns: metric name with its split, such as `test/accuracy` -> value.
    """
    from weft.run.resume import acceptable

    return named(path).load(checkpoint, acceptable(accept), tell).metrics()


def sample(
    path: Which,
    checkpoint: str | None = None,
    accept: str | Collection[str] = (),
    tell: Callable[[str], None] = warnings.warn,
) -> list[Path]:
    """Draws what the trained model makes into the run's figures/ and returns the files.

    Arguments as for `evaluate`.
    """
    from weft.run.resume import acceptable
    from weft.run.samples import draw

    return draw(named(path).load(checkpoint, acceptable(accept), tell))


def write(
    path: Which,
    asked: Writing,
    checkpoint: str | None = None,
    accept: str | Collection[str] = (),
    tell: Callable[[str], None] = warnings.warn,
) -> list[Written]:
    """Has the trained model go on with prompts; the texts also go into the run's samples.txt.

    Args:
        asked: the prompts, the length and the way of sampling; None stands for the run's config.
        path, checkpoint, accept, tell: as for `evaluate`.

    Raises:
        UsageError: if the model writes no text, or an option in `asked` does not apply to it.
    """
    from weft.run import samples
    from weft.run.resume import acceptable

    return samples.write(named(path).load(checkpoint, acceptable(accept), tell), asked)


def export(
    path: Which,
    file: Path | str | None = None,
    *,
    to: str = "torch",
    checkpoint: str | None = None,
    accept: str | Collection[str] = (),
    tell: Callable[[str], None] = warnings.warn,
) -> Path:
    """Writes the trained model for use without weft, and returns the file's path.

    Args:
        file: where to write; `model.pt2`, `model.onnx` or `model.NAME` in the run if None.
        to: `torch` (`torch.export.load(file).module()` takes it back), `onnx`, or a form of its
            family's own (`Family.exports`).
        path, checkpoint, accept, tell: as for `evaluate`.

    Raises:
        UsageError: if the model has no such form.
    """
    from weft.run.exchange.program import export as carry_out

    return carry_out(named(path), file, to, checkpoint, accept, tell)


def report(path: Which) -> Path:
    """Writes report.html, one self-contained page, and returns its path.

    Args:
        path: a run's directory, or a folder of runs: a sweep's, or one above several; or the name
            of either below runs/, such as `family/name`.
    """
    folder = folder_named(path)
    if is_run(folder) or not (found := find_runs(folder)):
        from weft.reports.page import write_page

        return write_page(named(path))
    # The page of a folder needs no torch, whose import takes as long as listing a thousand runs.
    from weft.reports.overview import write_overview_of
    from weft.sweeps.grid import table_of

    table, notes = None, []
    try:
        table = table_of(folder, found)
    except WeftError as error:
        # A damaged plan must not hide the runs: they are shown without the sweep's table.
        notes.append(error.brief)
    return write_overview_of(folder, found, table, notes=notes).page


def runs(root: Path | str = "runs", where: str | None = None) -> Runs:
    """All runs below `root`, oldest first; a damaged one is among them and says why.

    Args:
        root: folder.
        where: conditions, such as `test/accuracy>.9 and delay=50`.
    """
    from weft.reports.notebook import Runs
    from weft.reports.query import select

    found = find_runs(root)
    return Runs(found if where is None else select(found, where))


def compare(
    *paths: Which, metrics: Sequence[str] = (), page: Path | str | None = None
) -> Comparison:
    """What differs between runs and what came of it, paired by seed.

    Args:
        paths: runs, or folders of runs, damaged ones left out; runs that differ in the seed alone
            are one arm, and the first arm is what the others are compared with.
        metrics: by default all of the test set, or of validation.
        page: HTML page to write, with the curves over each other.

    Raises:
        UsageError: if there are not two runs, or none has such a metric.
    """
    from weft.reports.comparison import compare as carry_out

    compared = carry_out(paths, metrics)
    if page is not None:
        from weft.reports.overlay import write_comparison

        write_comparison(Path(page), compared.arms, compared.tables)
    return compared


def load(path: Which) -> nn.Module:
    """The trained model in a run's directory or in an exported model.safetensors, in eval mode."""
    from weft.run.model import load_weights

    file = Path(as_word(path))
    return load_weights(file) if file.is_file() else named(path).load_model()


def sweep(
    *words: str | Path,
    directory: Path | str | None = None,
    workers: int | None = None,
    metric: str | None = None,
    on_done: Callable[[Outcome], None] | None = None,
    stack: bool = False,
    on: str = "local",
    on_notice: Callable[[str], None] = lambda _: None,
) -> Sweep:
    """Trains a grid of settings side by side; the same call again continues it.

    Args:
        words: as for `train`; `delay=1,3,5`, `seed=0..2`, `optim.lr=log:1e-4:1e-2` span the grid.
        directory: the sweep's directory, `runs/sweeps/<recipe>` by default.
        workers: runs at a time; one per core or GPU by default.
        metric: what the plot shows; the family's headline metric by default.
        on_done, on_notice: called as each point ends; with a remark on all configs.
        stack: trains all runs as one, in this process; what is there already goes on either way.
        on: `local`, `ray`, `ray:ADDRESS`, `slurm` or `slurm:OPTION=VALUE,…`.

    Raises:
        UsageError: if the family measures no such metric, or does not stack these runs.
        DeviceError: if the place to train on is not there.
    """
    from weft.sweeps.sweep import sweep as carry_out

    return carry_out(
        *words, directory=directory, workers=workers, metric=metric, on_done=on_done, stack=stack,
        on=on, on_notice=on_notice,
    )  # fmt: skip


def search(
    *words: str | Path,
    sampler: Literal["tpe", "random"] = "tpe",
    trials: int,
    prune: bool = False,
    directory: Path | str | None = None,
    workers: int | None = None,
    metric: str | None = None,
    on: str = "local",
    on_notice: Callable[[str], None] = lambda _: None,
) -> Sweep:
    """Searches for good settings with Optuna; the same call again, or in another process, goes on.

    Arguments as for `weft.sweeps.found.search`, which says what axes mean here.
    """
    from weft.sweeps.found import search as carry_out

    return carry_out(
        *words, sampler=sampler, trials=trials, prune=prune, directory=directory, workers=workers,
        metric=metric, on=on, on_notice=on_notice,
    )  # fmt: skip


def reproduce(family: str, root: Path | str = "runs") -> Table:
    """The paper's numbers beside those of finished runs that match them.

    Raises:
        UsageError: if the family states no claims.
    """
    from weft.reports.claims import compare, load_claims

    path = families.find(family).home / "claims.yaml"
    if not path.is_file():
        raise UsageError(f"family `{family}` states no claims", where=str(path))
    return compare(load_claims(path), find_runs(root))


def train_tables(
    *names: str,
    budget: Literal["smoke", "cpu", "gpu", "paper"],
    minutes: float | None = None,
    root: Path | str = "runs",
    workers: int | None = None,
    on_done: Callable[[Outcome], None] = lambda _: None,
    out: Path | str | None = None,
) -> Reproduction:
    """Trains the runs that the papers' tables still lack, then builds the tables.

    The same call again goes on where it was stopped.

    Args:
        names: families, or `all`.
        budget: which list of each family's `reproduce.yaml` is trained.
        minutes: wall time for training; None for no limit.
        root: runs and tables go to `reproduce/<budget>` below it.
        workers: runs at a time; one per core or GPU by default.
        on_done: called as each run ends.
        out: a folder that gets a copy of everything but the weights.

    Raises:
        UsageError: if no family lists a run for this budget.
    """
    from weft.sweeps.reproduction import meant, reproduce

    wanted = [each for name in names for each in meant(name)]
    home = None if out is None else Path(out)
    return reproduce(wanted, budget, minutes, Path(root), workers, on_done, home)


def bench(
    what: str,
    *,
    full: bool = False,
    case: str | None = None,
    show: Callable[[str], None] = lambda _: None,
) -> dict[str, Any]:
    """Times a family's fast forms against its references and peers.

    Args:
        what: a family, or `loop`: weft's training loop against ten lines of torch.
        full: measure the slow cases, too.
        case: only the cases whose name matches this pattern, slow or not.
        show: called with a line of text as each form is measured.

    Raises:
        UsageError: if the family has no benchmark, or no such case.
    """
    from weft.engine.bench import timed

    path = "weft.studies.overhead:cases" if what == "loop" else families.find(what).bench
    return timed(what, path, full, case, show)


def doctor() -> dict[str, Any]:
    """What this machine has: versions, threads, devices, data sets, extras, and any problems."""
    from weft.run.doctor import examine

    return examine()
