"""Which options of feedback have an effect only where another one has some value."""

from __future__ import annotations

NEEDS = {
    "lora_rank": "stage=static|feedback",
    "feedback_target": "stage=static|feedback",
    "recurrent": "stage=feedback",
    "feedback_reverse": "stage=feedback",
    "feedback_source": "stage=feedback",
    "delta_mode": "stage=feedback",
    "generator": "stage=feedback",
    "latents": "stage=feedback generator=latent",
    "share_embedding": "stage=feedback",
    "weight_positions": "stage=feedback",
    "data.longest": "data.form=whole",
    "data.mixed_documents": "data.mixed_with",
    "data.vocab_size": "data.tokenizer=bpe",
    "data.tokenizer_file": "data.tokenizer=gpt2|json",
    "diffusion.top_p": "diffusion.temperature",
}
"""Option -> what it needs, as `weft.config.rule.needs_of` reads it."""
