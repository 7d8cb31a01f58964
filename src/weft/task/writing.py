"""`Writing`, a request for text from a trained model, and `Written`, the text."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass


@dataclass(frozen=True)
class Writing:
    """A request to continue prompts; None stands for the value in the run's config.

    Attributes:
        prompts: beginning of each text; may be empty.
        length: tokens to write after a prompt.
        steps: passes in which they are written.
        temperature: 0 takes the most likely token.
        top_p: tokens are drawn from the fewest whose probabilities reach this sum.
        remask: rule by which a pass chooses the tokens it leaves to later ones.
        block: tokens that are finished before later ones are begun.
    """

    prompts: tuple[str, ...]
    length: int | None = None
    steps: int | None = None
    temperature: float | None = None
    top_p: float | None = None
    remask: str | None = None
    block: int | None = None


@dataclass(frozen=True)
class Written:
    """One text.

    Attributes:
        prompt: its beginning.
        endings: writer -> continuation; `model` first, then those it is compared with.
    """

    prompt: str
    endings: Mapping[str, str]

    def plain(self) -> dict[str, object]:
        """For JSON."""
        return {"prompt": self.prompt, "endings": dict(self.endings)}

    def __str__(self) -> str:
        """The whole text; with several writers, one text each after the writer's name."""
        if len(self.endings) == 1:
            return self.prompt + next(iter(self.endings.values()))
        return "\n".join(f"[{who}] {self.prompt}{text}" for who, text in self.endings.items())
