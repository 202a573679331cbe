"""Quantiles of sup-F without a kink; written by benchmarks/threshold_null_table.py.

200 trials for each of 8 kinds of data at each size.
"""

from __future__ import annotations

# Number of points of the sweep.
POINTS = (7, 8, 10, 12, 16, 24, 32, 64)
# Natural logarithm of the chance to exceed each column: 0.5, 0.2, 0.1, 0.05, 0.02, 0.01, 0.005.
LOG_P = (-0.6931, -1.6094, -2.3026, -2.9957, -3.9120, -4.6052, -5.2983)
QUANTILES = (
    (0.000, 0.940, 2.177, 4.577, 10.304, 16.173, 33.851),
    (0.000, 1.045, 2.271, 3.509, 6.121, 8.033, 12.686),
    (0.088, 1.160, 2.318, 3.415, 5.406, 6.891, 11.375),
    (0.104, 1.218, 2.301, 3.647, 5.706, 7.393, 10.376),
    (0.154, 1.182, 1.962, 2.959, 4.214, 5.112, 6.255),
    (0.203, 1.043, 1.796, 2.645, 4.278, 5.720, 6.855),
    (0.172, 1.106, 1.916, 2.848, 4.383, 5.565, 6.434),
    (0.002, 0.954, 1.620, 2.321, 3.361, 4.235, 5.003),
)
