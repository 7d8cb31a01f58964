"""Sources of splat sets: packed files, folders, and pictures drawn by code."""
