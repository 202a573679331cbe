"""Figures about accuracy, speed, the window and safety: each script is run by hand and prints a table.

python -m benchmarks.accuracy.threshold --trials 500
"""
