"""The methods paragraph of a run: what a paper says of how it was measured, from what the file knows."""

from __future__ import annotations

import numpy as np

from labctl import __version__
from labctl.data.run import Run
from labctl.model.plan import AdaptivePlan, StabilityPlan, SweepPlan
from labctl.model.pump import PumpSettings, SpotSize
from labctl.model.results.sweep import SweepResult
from labctl.runner.report import PHOTONS, RunReport
from labctl.runner.wording import energy

_SPOT = {
    "gaussian": "Gaussian spot of 1/e2 radii {x:.4g} and {y:.4g} um",
    "ellipse": "flat elliptic spot of semi-axes {x:.4g} and {y:.4g} um",
    "stripe": "stripe of half-lengths {x:.4g} and {y:.4g} um",
}


def methods(run: Run, report: RunReport) -> str:
    """Return the paragraph; what the file does not know is not in it."""
    sentences = (
        _pump(run),
        _fluence(run.facts.settings, run.start.convention),
        _emission(run),
        _plan(run.plan, len(run)),
        _analysis(report.result),
    )
    return " ".join(f"{sentence}." for sentence in sentences if sentence)


def _pump(run: Run) -> str:
    said = pumping(run)
    return f"The sample ({run.start.sample}) was excited by {said}" if said else ""


def pumping(run: Run) -> str:
    """Return what excites the sample; empty where the file does not say."""
    settings = run.facts.settings
    if settings is None:
        return ""
    width = settings.pulse_width_fs
    pulses = "pulses" if width is None else f"{width:.4g} fs pulses"
    spot = _spot(settings.spot)
    angle = f", incident at {settings.incidence_deg:g} deg" if settings.incidence_deg else ""
    return (
        f"{pulses} of {settings.wavelength_nm:g} nm at {settings.repetition_rate_hz:g} Hz in a {spot}{angle}"
        f" ({PHOTONS[settings.photon_order]} pumping)"
    )


def _spot(spot: SpotSize) -> str:
    return _SPOT[spot.shape].format(x=spot.x_um, y=spot.y_um)


def _fluence(settings: PumpSettings | None, convention: str) -> str:
    if settings is None:
        return f"Fluences are {convention} fluences on the sample"
    return (
        f"Pulse energies, at most {energy(settings.max_pulse_energy_j)}, were monitored with a power meter "
        f"at a pick-off (sample over meter {settings.pickoff_ratio:.4g}) at every point; fluences are "
        f"{convention} fluences on the sample"
    )


def _emission(run: Run) -> str:
    who = run.start.identities.get("spectrometer")
    info = run.facts.spectrometer
    if who is None:
        return ""
    name = " ".join(part for part in (who.vendor, who.model) if part)
    known = None if info is None else info.resolution_nm
    resolution = "" if known is None else f", resolution {known:.3g} nm (FWHM)"
    low, high = (run.facts.edits.bands or run.bands).emission_nm
    background = "a dark" if run.plan.background == "dark" else "a blank"
    return (
        f"Emission was recorded with a spectrometer ({name}{resolution}); {background} was subtracted, and "
        f"the signal is the light from {low:.4g} to {high:.4g} nm in counts per pulse"
    )


def _plan(plan: SweepPlan, points: int) -> str:
    count = "1 point" if points == 1 else f"{points} points"
    if isinstance(plan, StabilityPlan):
        return f"The emission was followed at one fluence over {count}, every {plan.every_s:g} s"
    if isinstance(plan, AdaptivePlan):
        return f"The fluence was chosen from the points measured so far, {count} in all"
    ways = {"up": "rising", "down": "falling", "up-down": "rising and falling", "shuffled": "shuffled"}
    references = ", with repeats at a reference fluence below threshold" if plan.reference_every != 0 else ""
    return f"The fluence was swept in {ways[plan.direction]} order over {count}{references}"


def _analysis(result: SweepResult) -> str:
    threshold = result.threshold
    if result.stability is not None or threshold.threshold_uj_cm2 is None:
        return f"The data were evaluated with labctl {__version__}"
    shape = f", shape {threshold.shape}" if threshold.shape else ""
    return (
        f"The threshold is the onset of the kink in a maximum-likelihood fit of the light-light curve "
        f"(labctl {__version__}{shape}); its 95 % interval includes the choice of the shape"
    )


def temperature(run: Run) -> str:
    """Return at which temperature the sample was, where it was measured."""
    known = [t for t in run.facts.sample_temperature_c if t is not None]
    return f"sample at {np.mean(known):.1f} C" if known else ""
