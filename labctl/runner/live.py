"""The running threshold: fitted in a process of its own, latest points win, no point ever waits for it."""

from __future__ import annotations

import logging
import threading
from collections.abc import Callable, Sequence
from typing import Any

from labctl.model.records import SweepPoint
from labctl.runner.events import LiveThreshold
from labctl.runner.fit_process import FitFailed, FitProcess
from labctl.runner.fitting import curve_of
from labctl.runner.report import plain

log = logging.getLogger(__name__)

LONGEST_S = 60.0
ATTEMPTS = 3
"""Fits that may fail before the sweep goes on without a running threshold."""


class LiveFit:
    """A context manager; :meth:`offer` never blocks, results come through ``on_result`` in another thread.

    :param process: in which it is fitted.
    """

    def __init__(
        self, photon_order: int, on_result: Callable[[LiveThreshold], None], process: FitProcess
    ) -> None:
        self._photon_order, self._on_result, self._process = photon_order, on_result, process
        self._latest: Sequence[SweepPoint] | None = None
        self._closing = threading.Event()
        self._changed = threading.Condition()
        self._thread = threading.Thread(target=self._serve, name="live-fit", daemon=True)

    def __enter__(self) -> LiveFit:
        self._thread.start()
        return self

    def __exit__(self, *_: object) -> None:
        """Ask nothing more, and wait for nothing: the bench is not safe yet."""
        with self._changed:
            self._closing.set()
            self._changed.notify()

    def offer(self, points: Sequence[SweepPoint]) -> None:
        """Give it the points so far; what was not fitted yet is forgotten."""
        with self._changed:
            self._latest = points
            self._changed.notify()

    def _serve(self) -> None:
        left = ATTEMPTS
        while left and (points := self._take()) is not None:
            try:
                found = self._ask(points)
                if not self._closing.is_set():
                    self._on_result(found)
            except (FitFailed, KeyError, TypeError) as exc:
                left -= 1
                if not self._closing.is_set():
                    log.warning("the running fit %s", exc)

    def _take(self) -> Sequence[SweepPoint] | None:
        with self._changed:
            self._changed.wait_for(lambda: self._closing.is_set() or self._latest is not None)
            points, self._latest = self._latest, None
            return None if self._closing.is_set() else points

    def _ask(self, points: Sequence[SweepPoint]) -> LiveThreshold:
        curve = curve_of(points, self._photon_order)
        request = {
            "do": "threshold",
            "fluence": curve.fluence_uj_cm2,
            "signal": curve.signal,
            "sigma_rel": curve.fluence_sigma_rel,
            "photon_order": self._photon_order,
            "fwhm_nm": curve.fwhm_nm,
            "peak_count": curve.peak_count,
        }
        question = plain(request)
        assert isinstance(question, dict)
        answer: dict[str, Any] = self._process.ask(question, LONGEST_S)
        interval = answer["ci95"]
        return LiveThreshold(
            points=answer["points"],
            status=answer["status"],
            value=answer["threshold_uj_cm2"],
            ci95=None if interval is None else (interval[0], interval[1]),
            provisional=bool(answer["provisional"]),
            reason=str(answer["reason"]),
        )
