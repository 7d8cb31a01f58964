"""The command lines of the families' papers, and the files that their scripts left behind."""
