"""Waiting in tests: for what must come, as long as a slow computer may need, and never for a time."""

from __future__ import annotations

import threading
from collections.abc import Callable

PATIENCE_S = 100.0
"""What is due at once may take this long on a loaded computer; a hang takes longer than any patience."""
LOOK_S = 0.002


def until(condition: Callable[[], object], patience_s: float = PATIENCE_S) -> None:
    """Return as soon as the condition holds."""
    never = threading.Event()
    for _ in range(round(patience_s / LOOK_S)):
        if condition():
            return
        never.wait(LOOK_S)
    raise AssertionError(f"still not so after {patience_s:g} s")
