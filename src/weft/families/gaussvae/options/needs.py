"""Which options of gaussvae have an effect only where another one has some value."""

from __future__ import annotations

NEEDS = {
    "pool": "arch=conv1d|resnet|grid2d",
    "picture": "arch=image",
    "net": "arch=conv1d|resnet|grid2d",
    "net.queries": "pool=attn",
    "kl.capacity_share": "kl.capacity",
    "render.ramp": "loss=mixed",
}
"""Option or section -> what it needs, as `weft.config.rule.needs_of` reads it."""
