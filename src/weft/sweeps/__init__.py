"""Many runs from one command: a grid of settings, trained side by side and summed up."""
