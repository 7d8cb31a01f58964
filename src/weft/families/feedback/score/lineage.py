"""Takes over the weights of a run's base, and keeps a copy of them for comparison."""

from __future__ import annotations

from dataclasses import replace

from torch import Tensor

from weft.errors import ConfigError
from weft.families.feedback.config import Config
from weft.families.feedback.model import LanguageModel
from weft.families.feedback.nets.feedforward import Feedforward
from weft.task.parent import Parent


def keep_origin(model: LanguageModel, config: Config) -> None:
    """Gives `model` a frozen copy of its feedforward network, if adaptation will change it."""
    if config.stage != "feedforward" and config.adapted != "none":
        origin = Feedforward(model.base.size)
        origin.load_state_dict(model.base.state_dict())
        model.origin = origin.requires_grad_(False)


def origin_of(model: LanguageModel) -> Feedforward:
    """The feedforward network as it was before adaptation."""
    return model.base if model.origin is None else model.origin


def inherit(model: LanguageModel, config: Config, parent: Parent) -> None:
    """Fills the feedforward network of `model`, and its copy, with the weights of `parent`.

    Raises:
        ConfigError: if the parent's weights work only with its deltas, or if its tokens or its
            network differ.
    """
    base = parent.config
    assert isinstance(base, Config), "a parent is of the same family"
    _check(config, base, parent)

    def without_copy() -> dict[str, Tensor]:
        weights = parent.load_weights()
        return {k: v for k, v in weights.items() if not k.startswith("origin.")}

    part = replace(parent, load_weights=without_copy)
    part.fill(model.inherited(condition=base.self_condition))
    if model.origin is not None:
        model.origin.load_state_dict(model.base.state_dict())


def _check(config: Config, base: Config, parent: Parent) -> None:
    """Checks differences between run and base that shapes do not show."""
    if base.deltas != "none":
        raise ConfigError(
            f"`{parent.key}` is a run of stage {base.stage}, whose weights work with its deltas",
            where=str(parent.file),
            expected="a run of stage feedforward or fine_tune",
        )
    for what, mine, its in (
        ("its tokens are others", config.data.identity, base.data.identity),
        ("its attention heads are others", config.model.n_head, base.model.n_head),
    ):
        if mine != its:
            raise ConfigError(
                f"`{parent.key}` does not fit: {what}",
                where=str(parent.file),
                expected=f"{mine}; the earlier run has {its}",
                hint="the earlier run's config.yaml says what it was trained with",
            )
