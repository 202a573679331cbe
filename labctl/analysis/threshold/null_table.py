"""Quantiles of the sup-F statistic without a kink; written by benchmarks/threshold_null_table.py."""

from __future__ import annotations

# Number of points of the sweep.
POINTS = (7, 8, 12, 16, 32)
# Natural logarithm of the chance to exceed each column.
LOG_P = (-0.6931, -2.3026, -2.9957, -4.6052)
QUANTILES = (
    (4.0, 12.0, 18.0, 60.0),
    (2.5, 8.0, 11.0, 18.0),
    (1.5, 4.0, 5.0, 7.3),
    (1.5, 3.8, 4.6, 6.9),
    (1.5, 3.5, 4.2, 5.5),
)
