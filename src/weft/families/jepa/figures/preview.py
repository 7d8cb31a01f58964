"""An episode of moving dots as pictures: frames, true positions, and the next actions."""

# T frames, K dots, C channels, S pixels along a side

from __future__ import annotations

from PIL import Image, ImageDraw
from torch import Tensor

from weft.data.random import stream
from weft.families.jepa.sets.dots import DotsSource
from weft.plots.images import enlarged, in_unit, letters

# The colours of dots 1, 2 and 3 in a frame of three channels.
_COLOURS = ((255, 80, 80), (80, 220, 80), (100, 140, 255))
_TEXT = (230, 230, 230)
_LINE_HEIGHT = 18
_MARGIN = 4


def draw_frames(
    image: Tensor, location: Tensor, action: Tensor, *, scale: int = 8
) -> list[Image.Image]:
    """The frames of an episode, annotated with positions and actions.

    Every dot has a ring around it, its next action as a line from the ring's centre, and both as
    numbers below the frame.

    Args:
        image: brightness in any units, (T, C, S, S); three channels are shown as colours, one as
            grey, from black at the darkest pixel of the episode to white at its brightest.
        location: (x, y) in pixels, (T, K, 2).
        action: in pixels, (T - 1, K, 2); lines may cross walls, which stop the dot.
        scale: screen pixels per pixel.
    """
    colours = in_unit(image).expand(-1, 3, -1, -1).permute(0, 2, 3, 1)
    places, moves = location.tolist(), action.tolist()
    return [
        _draw_frame(colours[t], t, places[t], moves[t] if t < len(moves) else None, scale)
        for t in range(len(colours))
    ]


def _draw_frame(
    pixels: Tensor,
    time: int,
    places: list[list[float]],
    moves: list[list[float]] | None,
    scale: int,
) -> Image.Image:
    """One frame: `pixels` (S, S, 3) enlarged, with a ring, a line and a line of text per dot."""
    side = pixels.shape[0] * scale
    picture = Image.new("RGB", (side, side + _LINE_HEIGHT * len(places) + _MARGIN))
    picture.paste(enlarged(pixels, scale))
    draw, font = ImageDraw.Draw(picture), letters(12)
    for dot, (x, y) in enumerate(places):
        colour = _COLOURS[dot % len(_COLOURS)]
        # A coordinate is the centre of a pixel, which is `scale` screen pixels wide.
        centre = ((x + 0.5) * scale, (y + 0.5) * scale)
        draw.circle(centre, 2.6 * scale, outline=colour)
        text = f"t {time:2d}   p {x:4.1f} {y:4.1f}"
        if moves is not None:
            dx, dy = moves[dot]
            draw.line([centre, (centre[0] + dx * scale, centre[1] + dy * scale)], colour, 2)
            text += f"   a {dx:+.1f} {dy:+.1f}"
        draw.text((_MARGIN, side + _LINE_HEIGHT * dot), text, _TEXT, font)
    return picture


def training_episode(source: DotsSource) -> tuple[str, str, list[Image.Image]]:
    """The first training episode with positions and actions: name, caption, frames."""
    batch = source.episodes(source.plan(0, 0)[0][:1], stream(0, 0, "preview", device=source.device))
    frames = draw_frames(
        batch["image"][0],
        source.norm.pixels(batch["location"][0]),
        batch["action"][0] * source.norm.action_scale,
    )
    caption = (
        "What the model learns from: a training episode. Ring: a dot's position p; line: its next "
        "action a, in pixels, before walls stop it. Only dot 1's actions are told to the model."
    )
    return "episode", caption, frames
