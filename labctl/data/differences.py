"""What differs between the bench a run was measured on and the bench that is to continue it."""

from __future__ import annotations

import json
from collections.abc import Iterator, Mapping

import numpy as np

from labctl.data.nexus import as_json
from labctl.data.run import Run
from labctl.model.errors import ConfigError
from labctl.model.run import RunStart

_PLACEHOLDER = "nothing"
_CLOSE_NM = 1e-6


def differences(run: Run, start: RunStart) -> tuple[str, ...]:
    """Return, one line each, how instruments and configuration differ from the run's latest session.

    :param start: what the present bench says of itself.
    """
    before = run.sessions[-1]
    roles = sorted({*before.identities, *start.identities})
    found = []
    for role in roles:
        was, now = before.identities.get(role), start.identities.get(role)
        if was != now:
            found.append(f"{role}: was {was or _PLACEHOLDER}, is {now or _PLACEHOLDER}")
    was_flat, now_flat = dict(_flat(before.config)), dict(_flat(start.config))
    for key in sorted({*was_flat, *now_flat}):
        was_value, now_value = was_flat.get(key, _PLACEHOLDER), now_flat.get(key, _PLACEHOLDER)
        if was_value != now_value:
            found.append(f"{key}: was {was_value}, is {now_value}")
    return tuple(found)


def refuse_other_axes(run: Run, start: RunStart) -> None:
    """Refuse what one file cannot hold: other wavelengths, another fluence convention, other bands.

    :raises ConfigError: says which, and what to do.
    """
    reasons = []
    was_nm, now_nm = run.wavelength_nm, start.wavelength_nm
    if was_nm.size != now_nm.size:
        reasons.append(f"the spectrometer has {now_nm.size} pixels, the run {was_nm.size}")
    elif not np.allclose(was_nm, now_nm, rtol=0.0, atol=_CLOSE_NM):
        off = float(np.max(np.abs(was_nm - now_nm)))
        reasons.append(f"the spectrometer's wavelengths differ by up to {off:.3g} nm")
    if run.start.convention != start.convention:
        reasons.append(
            f"fluences are {start.convention} values on the bench, {run.start.convention} in the run"
        )
    for band in ("emission_nm", "lasing_nm"):
        was, now = run.start.plan.get(band), start.plan.get(band)
        if was != now:
            reasons.append(f"{band} is {now} on the bench, {was} in the run")
    if reasons:
        raise ConfigError(
            f"{run.path.name} cannot be continued on this bench: {'; '.join(reasons)}",
            hint="change the bench back, or begin another run",
        )


def _calibration(copy: Mapping[str, object]) -> str:
    """Name the copy of a calibration in one line instead of a thousand numbers."""
    body = copy["calibration"]
    measured = body.get("measured_utc") if isinstance(body, dict) else None
    return f"{copy.get('file')} of {measured} (sha256 {str(copy['sha256'])[:12]})"


def _flat(config: Mapping[str, object]) -> Iterator[tuple[str, str]]:
    """Yield every leaf of a configuration, as it is stored, with its dotted key."""
    stored = json.loads(as_json(config))
    waiting: list[tuple[str, object]] = [("", stored)]
    while waiting:
        above, value = waiting.pop()
        if isinstance(value, dict) and {"sha256", "calibration"} <= set(value):
            yield above, _calibration(value)
        elif isinstance(value, dict):
            waiting += [(f"{above}.{key}" if above else str(key), item) for key, item in value.items()]
        else:
            yield above, json.dumps(value)
