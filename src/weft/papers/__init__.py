"""The command lines of the original papers' scripts, and the files that these scripts wrote."""
