"""The process of a run's fits: a question a line in, an answer a line out, both JSON.

The running threshold and the end of a run, in a process of its own: a fit beside the acquisition thread would
hold the interpreter when a point is due, and one that hangs can only be ended from outside. It ends when its
input does; where a fit hangs and the program that would end it is gone, some time after the deadline.
"""

from __future__ import annotations

import contextlib
import faulthandler
import json
import os
import sys
from collections.abc import Iterator, Mapping
from pathlib import Path
from typing import Any

import numpy as np

from labctl.runner.fitting import Curve, fit_curve
from labctl.runner.report import plain

AFTER_S = 10.0
"""Wall time after a question's deadline; who asked has ended this process long before, if it lives."""


def answer(line: str) -> str:
    """Answer one question; a fit that fails is an answer too."""
    request = json.loads(line)
    return json.dumps(_conclusion(request) if request["do"] == "conclude" else _threshold(request))


@contextlib.contextmanager
def ending_after(seconds: float) -> Iterator[None]:
    """End this process if the block takes longer, from a thread that needs no interpreter."""
    with Path(os.devnull).open("w", encoding="utf-8") as nowhere:
        faulthandler.dump_traceback_later(seconds, exit=True, file=nowhere)
        try:
            yield
        finally:
            faulthandler.cancel_dump_traceback_later()


def _conclusion(request: Mapping[str, Any]) -> dict[str, object]:
    from labctl.runner.carried import unpacked
    from labctl.runner.conclude import conclude

    return conclude(**unpacked(request["given"]))


def _threshold(request: Mapping[str, Any]) -> object:
    signal = np.array(request["signal"], dtype=np.float64)  # None becomes nan
    curve = Curve(
        fluence_uj_cm2=np.array(request["fluence"], dtype=np.float64),
        signal=signal,
        peaks_signal=signal,
        fluence_sigma_rel=float(request["sigma_rel"]),
        photon_order=int(request["photon_order"]),
        fwhm_nm=np.array(request["fwhm_nm"], dtype=np.float64),
        peak_count=np.array(request["peak_count"], dtype=np.float64),
    )
    try:
        result = fit_curve(curve).to_mapping()
    except Exception as exc:  # noqa: BLE001  the sweep goes on without a running threshold
        result = {"status": "refused", "reason": f"{type(exc).__name__}: {exc}"}
    wanted = {key: result.get(key) for key in ("status", "reason", "threshold_uj_cm2", "ci95", "provisional")}
    return plain({**wanted, "points": int(signal.size)})


def main() -> None:
    """Answer until the input ends."""
    for line in sys.stdin:
        with ending_after(json.loads(line)["within_s"] + AFTER_S):
            found = answer(line)
        sys.stdout.write(found + "\n")
        sys.stdout.flush()


if __name__ == "__main__":
    main()
