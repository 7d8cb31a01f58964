"""What `weft new-family` copies: a family that trains, its tests, and a project to hold it."""
