"""Many runs from one command: grids, searches and reproductions."""
