"""The command lines of the GaussVAE repository: its two training scripts and their configs."""
