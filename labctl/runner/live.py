"""The running threshold: fitted in a process of its own, latest points win, no point ever waits for it."""

from __future__ import annotations

import contextlib
import json
import logging
import subprocess
import sys
import threading
from collections.abc import Callable, Sequence

from labctl.model.records import SweepPoint
from labctl.runner.children import child_environment, own_group
from labctl.runner.events import LiveThreshold
from labctl.runner.fitting import curve_of
from labctl.runner.report import plain

log = logging.getLogger(__name__)


class LiveFit:
    """A context manager; :meth:`offer` never blocks, results come through ``on_result`` in another thread."""

    def __init__(self, photon_order: int, on_result: Callable[[LiveThreshold], None]) -> None:
        self._photon_order, self._on_result = photon_order, on_result
        self._latest: Sequence[SweepPoint] | None = None
        self._closing = False
        self._changed = threading.Condition()
        self._child: subprocess.Popen[str] | None = None
        self._thread = threading.Thread(target=self._serve, name="live-fit", daemon=True)

    def __enter__(self) -> LiveFit:
        try:
            self._child = subprocess.Popen(  # type: ignore[call-overload]
                [sys.executable, "-m", "labctl.runner.fit_child"],
                stdin=subprocess.PIPE,
                stdout=subprocess.PIPE,
                stderr=subprocess.DEVNULL,
                text=True,
                encoding="utf-8",
                env=child_environment(),
                **own_group(),
            )
        except OSError:
            log.exception("the running fit could not be started; the sweep goes on without it")
            return self
        self._thread.start()
        return self

    def __exit__(self, *_: object) -> None:
        """End the child at once: the final fit is made elsewhere."""
        with self._changed:
            self._closing = True
            self._changed.notify()
        if self._child is None:
            return
        self._child.kill()
        self._thread.join(timeout=5.0)
        self._child.wait()
        for pipe in (self._child.stdin, self._child.stdout):
            if pipe is not None:
                with contextlib.suppress(OSError):
                    pipe.close()

    def offer(self, points: Sequence[SweepPoint]) -> None:
        """Give it the points so far; what was not fitted yet is forgotten."""
        with self._changed:
            self._latest = points
            self._changed.notify()

    def _serve(self) -> None:
        try:
            while (points := self._take()) is not None:
                self._on_result(self._ask(points))
        except (OSError, ValueError, KeyError):
            if not self._closing:
                log.exception("the running fit ended; the sweep goes on without it")

    def _take(self) -> Sequence[SweepPoint] | None:
        with self._changed:
            self._changed.wait_for(lambda: self._closing or self._latest is not None)
            points, self._latest = self._latest, None
            return None if self._closing else points

    def _ask(self, points: Sequence[SweepPoint]) -> LiveThreshold:
        assert self._child is not None
        assert self._child.stdin is not None
        assert self._child.stdout is not None
        curve = curve_of(points, self._photon_order)
        request = {
            "fluence": curve.fluence_uj_cm2,
            "signal": curve.signal,
            "sigma_rel": curve.fluence_sigma_rel,
            "photon_order": self._photon_order,
            "fwhm_nm": curve.fwhm_nm,
            "peak_count": curve.peak_count,
        }
        self._child.stdin.write(json.dumps(plain(request), allow_nan=False) + "\n")
        self._child.stdin.flush()
        answer = json.loads(self._child.stdout.readline())
        interval = answer["ci95"]
        return LiveThreshold(
            points=answer["points"],
            status=answer["status"],
            value=answer["threshold_uj_cm2"],
            ci95=None if interval is None else (interval[0], interval[1]),
            provisional=bool(answer["provisional"]),
            reason=str(answer["reason"]),
        )
