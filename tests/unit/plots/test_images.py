"""Tensors as pictures, and figures as the files that reports show."""

from __future__ import annotations

import warnings
import xml.etree.ElementTree as ElementTree
from pathlib import Path

import pytest
import torch
from matplotlib.figure import Figure
from PIL import Image

from weft.plots.images import enlarged, in_unit, png, save, save_animation, spread, svg
from weft.plots.style import style


def figure() -> Figure:
    with style():
        drawn = Figure()
        axes = drawn.add_subplot(title="title")
        axes.plot([0, 1], [1, 0], "o-")
    return drawn


def test_brightness_reaches_from_zero_to_one_in_any_unit() -> None:
    images = torch.tensor([[-3.0, 1.0], [5.0, 1.0]], dtype=torch.float64)
    assert in_unit(images).tolist() == [[0.0, 0.5], [1.0, 0.5]]
    assert in_unit(images).dtype == torch.float32
    assert in_unit(torch.full((2, 2), 7.0)).tolist() == [[0.0, 0.0], [0.0, 0.0]]


def test_pixels_are_enlarged_to_squares_of_one_colour() -> None:
    pixels = torch.zeros(1, 2, 3)
    pixels[0, 1] = torch.tensor([1.0, 0.5, 0.0])
    picture = enlarged(pixels, 3)
    assert picture.size == (6, 3)
    assert [picture.getpixel((x, 2)) for x in (0, 2, 3, 5)] == [(0, 0, 0)] * 2 + [(255, 128, 0)] * 2


@pytest.mark.parametrize(
    ("total", "wanted", "places"),
    [(17, 5, [0, 4, 8, 12, 16]), (3, 9, [0, 1, 2]), (1, 9, [0]), (9, 1, [0])],
)
def test_places_are_spread_over_all_there_are(total: int, wanted: int, places: list[int]) -> None:
    assert spread(total, wanted) == places


def test_png_has_150_dots_an_inch_and_paper_behind_it(tmp_path: Path) -> None:
    with style():
        small = Figure(figsize=(4, 3))
    save(small, tmp_path / "new" / "figure.png")
    with Image.open(tmp_path / "new" / "figure.png") as image:
        assert image.size == (600, 450)
        assert image.convert("RGB").getpixel((0, 0)) == (255, 255, 255)


def test_svg_is_well_formed_and_takes_the_colours_of_the_page() -> None:
    drawing = svg(figure(), "first-")
    root = ElementTree.fromstring(drawing)
    assert "width" not in root.attrib and "viewBox" in root.attrib
    assert "var(--line-0, #1f83d6)" in drawing and "var(--ink, #1b2430)" in drawing
    assert "DejaVu" not in drawing and "metadata" not in drawing
    ids = [e.attrib["id"] for e in root.iter() if "id" in e.attrib]
    assert ids and all(name.startswith("first-") for name in ids)
    wanted = {part.partition(")")[0] for part in drawing.split("url(#")[1:]}
    wanted |= {part.partition('"')[0] for part in drawing.split('href="#')[1:]}
    assert wanted and wanted <= set(ids)


def test_the_same_figure_gives_the_same_svg() -> None:
    assert svg(figure()) == svg(figure())


def test_an_animation_is_a_gif_of_all_its_frames(tmp_path: Path) -> None:
    frames = [Image.new("RGB", (4, 4), (shade, 0, 0)) for shade in (0, 100, 200)]
    save_animation(frames, tmp_path / "a.gif", milliseconds=70)
    with Image.open(tmp_path / "a.gif") as read:
        assert (read.format, read.n_frames, read.info["duration"]) == ("GIF", 3, 70)


def test_a_name_in_a_script_that_the_font_lacks_is_drawn_without_a_word() -> None:
    figure = Figure()
    figure.suptitle("実行")
    with warnings.catch_warnings():
        warnings.simplefilter("error")
        assert "実行" in svg(figure) and png(figure)
