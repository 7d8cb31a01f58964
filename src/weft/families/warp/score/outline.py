"""The text of a dry run on the recurrence: its possible forms, their costs, and the choice."""

from __future__ import annotations

from collections.abc import Sequence

from weft.families.warp.cell.layer import Layer
from weft.families.warp.config import Config
from weft.families.warp.forms.choose import FORMS, choose, refusal
from weft.families.warp.forms.cost import Machine, Problem
from weft.families.warp.forms.estimate import estimates
from weft.families.warp.objective import kept_count
from weft.families.warp.rnn import WeightSpaceRNN
from weft.families.warp.score.inference import context_of
from weft.families.warp.score.stability import parameter_counts
from weft.families.warp.sets.source import SeriesSpec


def outline(rnn: WeightSpaceRNN, config: Config, spec: SeriesSpec) -> list[str]:
    """Parameters by part, and `describe` of a run's training step.

    As there are no data, initial weights computed from x_0 are assumed to differ between sequences.
    """
    counts = parameter_counts(rnn).items()
    query, given = config.read == "query", context_of(config, spec)
    return [
        f"parameters: {', '.join(f'{part} {count:,}' for part, count in counts)}",
        *describe(
            rnn.layers,
            max(1, spec.batch_shape[0] // config.engine.accumulation),
            -(-given // (config.patch or 1))
            if query and given
            else kept_count(spec.steps, config.traj_train_prop),
            Machine.of(next(rnn.parameters()).device),
            feedback=config.feeds_back,
            last=query or (not config.reconstructs and rnn.smoothing is None),
            noisy=rnn.initial_noise > 0,
            ragged=spec.ragged,
            form=config.form,
        ),
    ]


def describe(
    layers: Sequence[Layer],
    batch: int,
    steps: int,
    machine: Machine,
    *,
    feedback: bool = False,
    last: bool = False,
    noisy: bool = False,
    ragged: bool = False,
    form: str = "auto",
) -> list[str]:
    """`explain` for every layer of a network, as a training step runs it.

    Args:
        layers: first to last.
        batch, steps: N and T.
        machine: where it runs.
        feedback: whether predictions are fed back.
        last: whether only the last step is read.
        noisy: whether noise is added to each sequence's theta_0.
        ragged: whether lengths of sequences differ.
        form: `form` of the config.
    """
    if feedback and len(layers) > 1:
        return ["recurrence: a stack that feeds predictions back runs as the literal loop"]
    lines = []
    for layer in layers:
        problem = Problem.of(
            layer,
            batch,
            steps,
            feedback=feedback,
            last=last and layer is layers[-1],
            starts=batch if noisy else None,
            ragged=ragged,
        )
        top = layer is layers[-1]
        lines += explain(problem, machine, form if top or form == "loop" else "auto")
    return lines


def explain(problem: Problem, machine: Machine, form: str = "auto") -> list[str]:
    """A line for each form: the cost of a training step, or the reason why it cannot be used.

    Args:
        problem: shapes and rule of a layer's run.
        machine: where it runs.
        form: `form` of the config.
    """
    p = problem
    mode = (
        "predictions fed back" if p.feedback else "last step read" if p.last else "all steps read"
    )
    chosen = "loop" if form == "loop" else choose(p, machine, form).form
    lines = [f"recurrence: N={p.batch} T={p.steps} D={p.size} drives={p.drives}, {mode}"]
    for name in (*FORMS, "loop"):
        reason = refusal(p, name) if name != "loop" else ""
        if reason:
            lines.append(f"  {name:<10}   {reason}")
            continue
        cost = min(estimates(p, name), key=lambda each: each.rank(machine))
        numbers = f" steps of 2^{cost.doublings}" if cost.doublings else ""
        numbers += f" chunks of {cost.chunk}" if cost.chunk > 1 else ""
        lines.append(
            f"{'*' if name == chosen else ' '} {name:<10} {1e3 * cost.seconds(machine):9.0f} ms "
            f"{cost.flops / 1e9:9.1f} GFLOP {cost.bytes / 1e9:8.1f} GB moved "
            f"{cost.stored / 2**20:8.0f} MiB{numbers}"
        )
    return lines
