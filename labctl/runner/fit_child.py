"""The process of a run's fits: a question a line in, an answer a line out, both JSON.

The running threshold and the end of a run, in a process of its own: a fit beside the acquisition thread would
hold the interpreter when a point is due, and one that hangs can only be ended from outside. It ends when its
input does.
"""

from __future__ import annotations

import json
import sys
from collections.abc import Mapping
from typing import Any

import numpy as np

from labctl.runner.fitting import Curve, fit_curve
from labctl.runner.report import plain


def answer(line: str) -> str:
    """Answer one question; a fit that fails is an answer too."""
    request = json.loads(line)
    return json.dumps(_conclusion(request) if request["do"] == "conclude" else _threshold(request))


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
        sys.stdout.write(answer(line) + "\n")
        sys.stdout.flush()


if __name__ == "__main__":
    main()
