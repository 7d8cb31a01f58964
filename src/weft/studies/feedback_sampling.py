"""Compares ways of unmasking text: time a token, exact match, a second model's bound on it."""

# B rows, T positions, K noise levels, M texts

from __future__ import annotations

import argparse
import math
import time
from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Any, cast

from weft.errors import UsageError
from weft.papers import script

if TYPE_CHECKING:
    from torch import Tensor

    from weft.families.feedback.config import Config
    from weft.families.feedback.model import LanguageModel
    from weft.families.feedback.sets.tokenizer import Tokenizer
    from weft.families.feedback.task import FeedbackTask
    from weft.run.model import Trained

WAYS: tuple[dict[str, Any], ...] = (
    *({"generation_steps": steps} for steps in (4, 8, 16, 32, 64, 128)),
    {"temperature": 0.5},
    {"temperature": 1.0},
    {"temperature": 1.0, "top_p": 0.9},
    {"remask": "random"},
    {"block": 8},
    {"block": 32},
)
"""Ways of unmasking: options that differ from 32 passes over the whole text, in which the most
likely tokens are taken and the surest are kept first."""
_STANDARD = {"generation_steps": 32, "temperature": 0.0, "top_p": 1.0, "remask": "low-confidence",
             "block": None}  # fmt: skip


@dataclass(frozen=True)
class Found:
    """The result of a way of unmasking.

    Attributes:
        way: options that differ from the standard way.
        milliseconds: time to write a token.
        match, match_se: share of right answers, and its standard error; NaN if there are none.
        nats, nats_se: the judge's bound on the written text given its beginning, in nats a token,
            and its standard error.
    """

    way: str
    milliseconds: float
    match: float
    match_se: float
    nats: float
    nats_se: float

    def __str__(self) -> str:
        """A line of a table."""
        match = "" if math.isnan(self.match) else f"{self.match:.3f} ± {self.match_se:.3f}"
        nats = f"{self.nats:.3f} ± {self.nats_se:.3f}"
        spent = "" if math.isnan(self.milliseconds) else f"{self.milliseconds:.3g}"
        return f"| {self.way} | {spent} | {match} | {nats} | {math.exp(self.nats):.3g} |"


def main(argv: Sequence[str] | None = None) -> int:
    """Runs `weft study sampling RUN --judge RUN [--texts N]`; returns the exit code."""
    return script.run(_compare, argv)


def _compare(words: list[str]) -> None:
    parser = argparse.ArgumentParser("weft study sampling", description=__doc__)
    parser.add_argument("run", type=Path, help="a run of feedback, which writes")
    parser.add_argument("--judge", type=Path, required=True, help="a run that scores what it wrote")
    parser.add_argument(
        "--texts", type=script.at_least(1), default=128, help="held-out texts that are begun"
    )
    parser.add_argument(
        "--levels", type=script.at_least(1), default=8, help="noise levels of the judge"
    )
    flags = script.parsed(parser, words)
    head = "| way | ms a token | exact match | nats a token | perplexity |\n|---|---|---|---|---|"
    for number, found in enumerate(compare(flags.run, flags.judge, flags.texts, flags.levels)):
        if number == 0:
            print(head)
        print(found, flush=True)


def compare(path: Path, judged_by: Path, texts: int, levels: int) -> Iterator[Found]:
    """Yields the results of all `WAYS`, and last that of the true text.

    Args:
        path: the run that writes: on gsm8k answers to problems, otherwise the rest of chunks.
        judged_by: the run that scores the texts, with the same tokens.
        texts: number of held-out texts, the first ones.
        levels: noise levels K of the bound.

    Raises:
        UsageError: if a run is not of feedback, or the two have different tokens.
    """
    import torch

    from weft.engine.loop import at_rest
    from weft.families.feedback.score.exact_match import answer_of, same_answer
    from weft.families.feedback.score.generation import complete

    writer, judge = _opened(path), _opened(judged_by)
    config = cast("Config", writer.parts.config)
    if config.data.identity != cast("Config", judge.parts.config).data.identity:
        raise UsageError("the judge reads other tokens", where=str(judged_by))
    tokenizer = _tokenizer(writer)
    model = cast("LanguageModel", writer.model)
    begun = [tuple(each.to(model.base.table.device) for each in pair)
             for pair in _begun(writer, texts)]  # fmt: skip
    asked = config.data.dataset == "gsm8k"
    for way in (*WAYS, None):
        generator = torch.Generator(model.base.table.device).manual_seed(0)
        changes = {"diffusion": config.diffusion.model_copy(update={**_STANDARD, **(way or {})})}
        how, right, seconds = config.model_copy(update=changes), list[bool](), 0.0
        sums, counts = list["Tensor"](), list["Tensor"]()
        first = 0
        for clean, masked in begun:
            filled = clean
            if way is not None:
                started = time.perf_counter()
                with at_rest(writer.parts, model, writer.step):
                    filled = complete(model, how, tokenizer.vocabulary, clean, masked, generator)
                # Reading the tokens waits for the device.
                filled.tolist()
                seconds += time.perf_counter() - started
            if asked:
                for made, true in zip(filled.tolist(), clean.tolist(), strict=True):
                    answers = (answer_of(tokenizer.text(ids)) for ids in (made, true))
                    right.append(same_answer(*answers))
            sums.append(_bound(judge, filled, masked, first, levels))
            counts.append(masked.sum(1).cpu())
            first += len(clean)
        yield _found(way, right, torch.cat(sums), torch.cat(counts), seconds)


def _found(
    way: dict[str, Any] | None, right: list[bool], sums: Tensor, counts: Tensor, seconds: float
) -> Found:
    from weft.families.feedback.objective import ratio

    share = sum(right) / len(right) if right else math.nan
    error = math.sqrt(share * (1 - share) / len(right)) if right else math.nan
    nats, nats_se = ratio(sums, counts)
    name = "true text" if way is None else ", ".join(f"{key} {way[key]}" for key in way)
    spent = math.nan if way is None else 1e3 * seconds / int(counts.sum())
    return Found(name.replace("generation_", ""), spent, share, error, nats, nats_se)


def _opened(path: Path) -> Trained:
    from weft.run.named import named

    run = named(path)
    if run.family != "feedback":
        raise UsageError(f"{path} is a run of {run.family}", expected="a run of feedback")
    return run.load()


def _tokenizer(trained: Trained) -> Tokenizer:
    return cast("FeedbackTask", trained.parts.task).tokenizer


def _begun(writer: Trained, texts: int) -> Iterator[tuple[Tensor, Tensor]]:
    """Batches of held-out texts, int64 (B, T), and which of their tokens to write, bool (B, T)."""
    import torch

    from weft.families.feedback.score.evaluation import chunks
    from weft.families.feedback.score.generation import problems

    config = cast("Config", writer.parts.config)
    tokenizer, source = _tokenizer(writer), writer.data.shown
    pad = tokenizer.vocabulary.pad_id
    if config.data.dataset == "gsm8k":
        asked = config.eval.model_copy(update={"exact_match": texts})
        for tokens, prompts in problems(source, tokenizer, asked):
            place = torch.arange(tokens.shape[1], device=tokens.device)
            begins = torch.tensor(prompts, device=tokens.device)
            yield tokens, (place >= begins[:, None]) & (tokens != pad)
        return
    for batch in chunks(source, config.eval.batch_size, texts):
        tokens = batch["tokens"]
        text = tokens != pad
        begins = (text.sum(1, keepdim=True) * config.diffusion.context).floor()
        yield tokens, text & (torch.arange(tokens.shape[1], device=tokens.device) >= begins)


def _bound(judge: Trained, tokens: Tensor, written: Tensor, first: int, levels: int) -> Tensor:
    """The judge's bound on the written tokens given the others, in nats a text, (B,)."""
    import torch

    from weft.engine.loop import at_rest
    from weft.families.feedback.nets.rows import Rows
    from weft.families.feedback.noise.process import fixed_noise
    from weft.families.feedback.objective import row_sums
    from weft.families.feedback.score.tally import guess

    config, model = cast("Config", judge.parts.config), cast("LanguageModel", judge.model)
    vocabulary = _tokenizer(judge).vocabulary
    tokens, written = (each.to(model.base.table.device) for each in (tokens, written))
    total = torch.zeros(len(tokens), dtype=torch.float64)
    with at_rest(judge.parts, model, judge.step):
        for noised in fixed_noise(
            tokens, written, first, vocabulary.mask_id, eps=config.diffusion.eps, levels=levels
        ):
            pad = None if config.data.pad_is_text else vocabulary.pad_id
            read = model(noised.tokens, Rows.of(noised.tokens, pad))
            targets = noised.clean[noised.masked]
            nats, _ = guess(read[noised.masked], model.base.table[: model.used], targets)
            weighted = nats * noised.weight[noised.masked] / levels
            total += row_sums(weighted, noised.masked).cpu().double()
    return total
