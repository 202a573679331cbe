"""Quantiles of sup-F without a kink; written by benchmarks/accuracy/threshold_null_table.py.

200 trials for each of 8 kinds of data at each size; rare levels smoothed over the sizes.
"""

from __future__ import annotations

# Number of points of the sweep.
POINTS = (7, 8, 10, 12, 16, 24, 32, 64)
# Natural logarithm of the chance to exceed each column: 0.5, 0.2, 0.1, 0.05, 0.02, 0.01, 0.005.
LOG_P = (-0.6931, -1.6094, -2.3026, -2.9957, -3.9120, -4.6052, -5.2983)
QUANTILES = (
    (0.000, 0.940, 2.177, 4.577, 10.304, 16.173, 33.851),
    (0.000, 1.045, 2.271, 3.509, 6.121, 8.033, 12.686),
    (0.088, 1.160, 2.318, 3.693, 5.810, 7.407, 11.793),
    (0.104, 1.218, 2.301, 3.280, 5.081, 6.477, 9.250),
    (0.154, 1.182, 1.962, 2.944, 4.499, 5.734, 7.417),
    (0.203, 1.043, 1.796, 2.719, 4.113, 5.241, 6.303),
    (0.172, 1.106, 1.916, 2.632, 3.965, 5.052, 5.899),
    (0.002, 0.954, 1.620, 2.525, 3.783, 4.820, 5.416),
)
