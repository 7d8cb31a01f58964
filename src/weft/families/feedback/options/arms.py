"""The arms of `weft study controls`: what each sets beyond the recipe that all share."""

from __future__ import annotations

from collections.abc import Mapping

from weft.config.family import Arm, Comparison

_STATES = ("stage=feedback", "feedback_source=hidden")
_ASSOC = ("stage=feedback", "feedback_source=both", "generator=assoc")
_ALL = ("joint=true", "scope=all")

ARMS: Mapping[str, Arm] = {
    "fine-tune-attn": Arm(("stage=fine_tune", "scope=attn"), control=True),
    "fine-tune-all": Arm(("stage=fine_tune", "scope=all"), control=True),
    "deeper": Arm(("stage=fine_tune", "scope=all", "extra_layers=1"), control=True),
    "deeper-top": Arm(("stage=fine_tune", "scope=none", "extra_layers=1"), control=True),
    "self-conditioned": Arm(("stage=fine_tune", "scope=all", "self_condition=true"), control=True),
    "static": Arm(("stage=static",), control=True),
    "static-2": Arm(("stage=static", "lora_rank=2"), control=True),
    "static-32": Arm(("stage=static", "lora_rank=32"), control=True),
    # Raw deltas are unstable far above the learning rate of the original.
    "original": Arm(
        ("stage=feedback", "mode=compat", "generator=tokens", "feedback_source=tokens"),
        rates=("3e-4",),
    ),
    "tokens": Arm(("stage=feedback", "generator=tokens", "feedback_source=tokens")),
    "hidden": Arm((*_STATES, "generator=latent")),
    "outer": Arm((*_STATES, "generator=outer")),
    "hidden-32": Arm((*_STATES, "generator=latent", "lora_rank=32")),
    "outer-32": Arm((*_STATES, "generator=outer", "lora_rank=32")),
    "assoc": Arm(_ASSOC),
    "assoc+error": Arm((*_ASSOC, "feedback_error=prediction")),
    "assoc+gradient": Arm((*_ASSOC, "feedback_error=gradient")),
    "assoc-rounds": Arm((*_ASSOC, "feedback_error=prediction", "rounds=3")),
    "outer+fine-tune-all": Arm((*_STATES, "generator=outer", *_ALL)),
    "assoc+fine-tune-all": Arm((*_ASSOC, *_ALL)),
    "assoc+error+fine-tune-all": Arm((*_ASSOC, "feedback_error=prediction", *_ALL)),
}

COMPARISON = Comparison(
    arms=ARMS,
    recipe=("feedback/cpu-gsm8k",),
    base=("feedback/cpu-wikitext",),
    shown={"gain": "base - loss", "input_gain": "shuffled - loss"},
)
