"""Pictures of any size as tiles."""

from __future__ import annotations

import numpy as np
from hypothesis import given
from hypothesis import strategies as st

from weft.families.gaussvae.codec.tiles import cut, join

side = st.integers(1, 9)


@given(st.tuples(side, side), st.tuples(side, side))
def test_tiles_join_to_the_picture_they_were_cut_from(
    size: tuple[int, int], tile: tuple[int, int]
) -> None:
    picture = np.arange(size[0] * size[1] * 3, dtype=np.uint8).reshape(*size, 3)
    tiles = cut(picture, tile)
    grid = (-(-size[0] // tile[0]), -(-size[1] // tile[1]))
    assert tiles.shape == (grid[0] * grid[1], *tile, 3)
    assert np.array_equal(join(tiles, grid, size), picture)


def test_what_the_last_tile_lacks_is_mirrored_edge_included() -> None:
    row = np.array([1, 2, 3], np.uint8).reshape(1, 3, 1).repeat(3, -1)
    assert cut(row, (2, 4))[0, :, :, 0].tolist() == [[1, 2, 3, 3], [1, 2, 3, 3]]
    assert cut(row[:, :1], (1, 4))[0, 0, :, 0].tolist() == [1, 1, 1, 1]
