"""Quantiles of sup-F without a kink; written by benchmarks/threshold_null_table.py.

400 trials for each of 8 kinds of data at each size.
"""

from __future__ import annotations

# Number of points of the sweep.
POINTS = (7, 8, 10, 12, 16, 24, 32, 64)
# Natural logarithm of the chance to exceed each column: 0.5, 0.2, 0.1, 0.05, 0.02, 0.01, 0.005.
LOG_P = (-0.6931, -1.6094, -2.3026, -2.9957, -3.9120, -4.6052, -5.2983)
QUANTILES = (
    (0.000, 0.855, 2.121, 4.384, 9.571, 15.702, 24.744),
    (0.000, 1.005, 2.310, 3.815, 7.146, 9.941, 13.645),
    (0.000, 1.004, 2.193, 3.492, 5.685, 7.751, 10.644),
    (0.000, 1.065, 2.004, 3.196, 5.382, 6.945, 9.421),
    (0.000, 0.977, 1.913, 2.955, 4.271, 5.697, 7.568),
    (0.025, 0.992, 1.769, 2.627, 4.155, 5.350, 6.772),
    (0.017, 1.026, 1.765, 2.545, 4.001, 5.139, 6.448),
    (0.000, 0.869, 1.604, 2.321, 3.392, 4.424, 5.417),
)
