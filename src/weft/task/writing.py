"""What a user asks a trained model to write, and what it wrote."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass


@dataclass(frozen=True)
class Writing:
    """Texts to go on with, and how; None leaves it to the run's config.

    Attributes:
        prompts: what each text begins with; may be empty.
        length: tokens that are written after a prompt.
        steps: passes in which they are written.
        temperature: 0 takes the likeliest token.
        top_p: a token is drawn from the fewest whose probabilities reach this sum.
        remask: which places a pass leaves open, by name.
        block: tokens that are finished before those that follow are begun.
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
        prompt: what it began with.
        endings: who wrote -> how it goes on; `model` first, then what it is compared with.
    """

    prompt: str
    endings: Mapping[str, str]

    def plain(self) -> dict[str, object]:
        """For JSON."""
        return {"prompt": self.prompt, "endings": dict(self.endings)}

    def __str__(self) -> str:
        """The whole text; where several went on with the prompt, each below its name."""
        if len(self.endings) == 1:
            return self.prompt + next(iter(self.endings.values()))
        return "\n".join(f"[{who}] {self.prompt}{text}" for who, text in self.endings.items())
