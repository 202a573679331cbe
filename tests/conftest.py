"""What every test needs: no screen, plots that draw into memory, and inputs that are the same every time.

Chance looks for new inputs in campaigns/fuzz.py, not in the tests: they are never red for another reason
than the change they test, nor because a computer is slow.
"""

from __future__ import annotations

import os

from hypothesis import HealthCheck, settings

os.environ.setdefault("QT_QPA_PLATFORM", "offscreen")
os.environ.setdefault("MPLBACKEND", "Agg")

settings.register_profile(
    "steady",
    derandomize=True,
    deadline=None,
    database=None,
    suppress_health_check=[HealthCheck.too_slow],
)
settings.load_profile("steady")
