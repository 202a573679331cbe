"""Whatever is given, a calibration comes out or is refused: nothing else is raised, no nan comes out."""

from __future__ import annotations

import math
from collections.abc import Callable
from dataclasses import fields
from typing import Any

import numpy as np
import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from labctl.analysis.calibration.malus import fit_malus, fit_plate
from labctl.analysis.calibration.pickoff import fit_pickoff, pair_interleaved
from labctl.analysis.calibration.pulses import pulse_statistics
from labctl.analysis.calibration.spot import absorptance, fit_knife_edge
from labctl.analysis.calibration.table import fit_table
from labctl.analysis.fading import fit_decay
from labctl.model.errors import CalibrationRefused

NUMBERS = st.one_of(
    st.floats(-1e3, 1e3), st.floats(allow_nan=True, allow_infinity=True), st.integers(-3, 3).map(float)
)
COLUMN = st.lists(NUMBERS, max_size=24)
SMOOTH = st.builds(
    lambda n, a, b, k, noise, seed: (
        a + b * np.cos(k * np.linspace(0, 1, n)) + noise * np.random.default_rng(seed).standard_normal(n)
    ).tolist(),
    st.integers(0, 40),
    st.floats(-10, 10),
    st.floats(-1e6, 1e6),
    st.floats(-30, 30),
    st.floats(0, 10),
    st.integers(0, 1000),
)
ANY: st.SearchStrategy[Any] = st.one_of(
    COLUMN, SMOOTH, st.just([]), st.just("words"), st.just([[1.0, 2.0], [3.0, 4.0]])
)

CALLS: dict[str, Callable[[Any, Any, Any], Any]] = {
    "malus": lambda a, b, c: fit_malus(a, b, angle_sigma_deg=None, direction=c),
    "malus, short": lambda a, b, c: fit_malus(np.linspace(0, 90, len(b)), b, c),
    "table": lambda a, b, c: fit_table(np.arange(len(b)), b, c),
    "knife": lambda a, b, c: fit_knife_edge(a, b, c),
    "knife, in steps": lambda a, b, c: fit_knife_edge(np.arange(len(b)), b, position_sigma_um=None),
    "pickoff": lambda a, b, c: fit_pickoff(a, b, c),
    "interleave": lambda a, b, c: pair_interleaved(np.arange(len(b)), np.arange(len(b)) // 3 % 2, c, b),
    "plate": lambda a, b, c: fit_plate(b, np.resize([1.0, -1.0], len(b)), slope_w_per_deg=1.0),
    "pulses": lambda a, b, c: pulse_statistics(b),
    "absorptance": lambda a, b, c: absorptance(
        a, b, kind="transmittance", pump_nm=1.0, pump_fwhm_nm=0.5, photon_order=1
    ),
    "decay": lambda a, b, c: fit_decay(np.arange(len(b)), b, c, model="single"),
}


def not_numbers(result: Any) -> list[str]:
    names = [f.name for f in fields(result)]
    values = {name: getattr(result, name) for name in names}
    return [name for name, value in values.items() if isinstance(value, float) and math.isnan(value)]


def outcome(call: Callable[[Any, Any, Any], Any], a: Any, b: Any, c: Any) -> tuple[Any, str]:
    try:
        return call(a, b, c), ""
    except CalibrationRefused as error:
        return None, str(error)


@pytest.mark.parametrize("name", CALLS)
@settings(max_examples=25, deadline=None, suppress_health_check=list(HealthCheck))
@given(a=ANY, b=ANY, c=st.one_of(st.none(), ANY))
def test_nothing_but_a_refusal_is_ever_raised(name: str, a: Any, b: Any, c: Any) -> None:
    result, reason = outcome(CALLS[name], a, b, c)
    assert result is not None or len(reason) > 10
    assert result is None or not_numbers(result) == []
