"""Plots of a run, the same for one that is being measured and one from a file."""
