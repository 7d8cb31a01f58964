"""Models that leave weft: as programs that need none of it, and to the hub."""
