"""Quantiles of sup-F without a kink; written by benchmarks/threshold_null_table.py.

300 trials for each of 8 kinds of data at each size.
"""

from __future__ import annotations

# Number of points of the sweep.
POINTS = (7, 8, 10, 12, 16, 24, 32, 64)
# Natural logarithm of the chance to exceed each column: 0.5, 0.2, 0.1, 0.05, 0.02, 0.01, 0.005.
LOG_P = (-0.6931, -1.6094, -2.3026, -2.9957, -3.9120, -4.6052, -5.2983)
QUANTILES = (
    (0.039, 1.370, 2.947, 5.903, 14.043, 21.860, 38.818),
    (0.083, 1.376, 2.802, 4.702, 8.686, 13.406, 19.491),
    (0.211, 1.502, 2.733, 4.495, 6.953, 9.808, 14.518),
    (0.261, 1.485, 2.706, 4.240, 6.377, 8.745, 10.148),
    (0.272, 1.443, 2.406, 3.400, 4.626, 6.035, 8.051),
    (0.265, 1.296, 2.119, 3.060, 5.096, 6.031, 8.231),
    (0.270, 1.358, 2.188, 3.080, 4.494, 5.632, 7.396),
    (0.000, 1.084, 1.890, 2.668, 3.812, 4.767, 5.622),
)
