"""Lines followed over fluence, the light of each at every fluence, its onset, and how it moves.

The light of a line is measured at every fluence where the line is, or would be: with all lines at once, above
the smooth luminescence, so that it is 0 within the noise below the onset of that line, however weak it is.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass, field, replace

import numpy as np
from numpy.typing import NDArray

from labctl.analysis.spectra.background import fit_continuum, spectrum_noise
from labctl.analysis.spectra.bands import Band, band_slice
from labctl.analysis.spectra.lines import gaussian
from labctl.analysis.spectra.peaks import Peak, find_peaks
from labctl.analysis.spectra.spacing import power_transform, spacing_of
from labctl.analysis.threshold.bounds import LineEvidence
from labctl.analysis.threshold.fit import Options, fit_prepared
from labctl.analysis.threshold.sweep_data import NOTHING_KNOWN, Known, prepare
from labctl.model.results.modes import LineLight, ModeOnset, Modes, Randomness

Floats = NDArray[np.float64]
Bools = NDArray[np.bool_]

LEAST_POINTS, LEAST_SEEN = 7, 3
"""Points that following needs, and points at which a line must be seen to be one."""
MOST_LINES = 10
"""So many of the lines that were seen first are fitted, the brighter of equals: each costs some 10 ms."""
POINTS_ABOVE = 6
"""A line's onset is fitted to all points below where it was first seen and so many from there on: what modes
do to each other far above does not matter to it."""
_REACH, _LEAST_REACH_PITCHES = 0.6, 2.5
"""How far a line may be from where it should be: in its widths, and at least in pixels."""
_MAX_GAP = 2
_TREND_POINTS, _TREND_SIGMA = 6, 5.0  # of a track's drift with fluence
_STEADY = 0.75  # of the points from its first sight to its last, a line that was followed is seen at
_JUMPS = 0.3  # of its width, rms from sight to sight: more is another line each time
_NEAR = 1.0  # widths: lines that come nearer exchange places unseen
_HOP, _HOP_STEPS = 4.0, 6  # widths; points for which two lines that cross may be one
_ORDERLY = 0.25  # of all peaks that lines which are followed make up at least
_LOSES = 0.5  # of its light, at a higher fluence
_PITCH_ERROR = 0.1  # of a pixel: what interpolating between pixels leaves of a place's error
_MOVES = 1.5  # times the noise, beside the test
_GRID = 32  # thresholds a grid of a line's fit
_CLEAR_SIGMA, _CLEAR_SHARE = 5.0, 0.05  # of the pixels' noise, and of the light at the next fluence


@dataclass(frozen=True, slots=True)
class SpectrumView:
    """One spectrum cut to the emission, arrays of shape ``(pixel,)``, counts per pulse."""

    above: Floats
    noise: Floats
    peaks: tuple[Peak, ...]


@dataclass(slots=True)
class Track:
    """One line, at some of the points, which are numbered in order of fluence.

    :ivar why_not: why it was not followed; empty where it was.
    """

    steps: list[int] = field(default_factory=list)
    peaks: list[Peak] = field(default_factory=list)
    why_not: str = ""

    @property
    def wavelength_nm(self) -> Floats:
        """Where it was seen, shape ``(seen,)``."""
        return np.array([peak.wavelength_nm for peak in self.peaks])

    @property
    def fwhm_nm(self) -> float:
        """Its width as seen, the median over the brighter half of its points."""
        return float(np.median([peak.fwhm_nm for peak in self.peaks[len(self.peaks) // 2 :]]))

    @property
    def brightest(self) -> float:
        """Its largest area, counts per pulse times pixels."""
        return max(peak.area_counts for peak in self.peaks)

    def expected_nm(self, step: int) -> float:
        """Where it should be: on the line of its last points if its slope is beyond doubt, else as last."""
        last = self.wavelength_nm[-_TREND_POINTS:]
        if last.size < 4:
            return float(last[-1])
        x = np.array(self.steps[-_TREND_POINTS:], dtype=np.float64)
        dx = x - x.mean()
        size = float(dx @ dx)
        slope = float(dx @ last) / size
        left = float(np.sum((last - last.mean() - slope * dx) ** 2)) / (x.size - 2)
        if abs(slope) < _TREND_SIGMA * np.sqrt(left / size):
            return float(last[-1])
        return float(last.mean() + slope * (step - x.mean()))

    def places_nm(self, count: int) -> Floats:
        """Where it is at every step, or would be, shape ``(count,)``."""
        seen = self.wavelength_nm
        places = np.interp(np.arange(count), self.steps, seen)
        places[: self.steps[0]] = np.median(seen[:3])  # the first sight is the faintest
        return np.asarray(places, dtype=np.float64)


@dataclass(frozen=True, slots=True)
class FollowedLines:
    """The lines of a run's spectra; ``k`` spectra in order of fluence, tracks by wavelength.

    :ivar order: index of each spectrum in the input, shape ``(k,)``.
    :ivar light: counts per pulse of each line at each fluence, shape ``(k, line)``; ``light_sigma`` likewise.
    """

    wavelength_nm: Floats
    order: NDArray[np.intp]
    fluence_uj_cm2: Floats
    views: tuple[SpectrumView, ...]
    tracks: tuple[Track, ...]
    light: Floats
    light_sigma: Floats

    @property
    def pitch_nm(self) -> float:
        """Distance of two pixels."""
        return float(self.wavelength_nm[-1] - self.wavelength_nm[0]) / (self.wavelength_nm.size - 1)


def follow_lines(
    wavelength_nm: Floats,
    spectra: Floats,
    fluence_uj_cm2: Floats,
    *,
    emission_nm: tuple[float, float],
    lasing_nm: tuple[float, float],
    resolution_nm: float | None = None,
    peaks: Sequence[Sequence[Peak]] | None = None,
) -> FollowedLines | None:
    """Follow the lines of spectra over fluence; None where the emission holds too few pixels.

    :param wavelength_nm: rising, nm, shape ``(pixel,)``.
    :param spectra: counts per pulse, dark-subtracted, shape ``(n, pixel)``; one with a nan is not used.
    :param fluence_uj_cm2: uJ/cm2, shape ``(n,)``, in any order; nan where a point is not to be used.
    :param emission_nm: the whole emission, whose smooth part is the luminescence.
    :param lasing_nm: where lines are looked for.
    :param resolution_nm: FWHM of the slit; None if unknown.
    :param peaks: what counts as a line in each spectrum, n of them; found here by default.
    """
    try:
        inside = band_slice(wavelength_nm, Band(*emission_nm, "whole emission"))
    except ValueError:
        return None
    axis, light = wavelength_nm[inside], spectra[:, inside]
    good = np.isfinite(fluence_uj_cm2) & np.isfinite(light).all(axis=1)
    order = np.flatnonzero(good)[np.argsort(fluence_uj_cm2[good], kind="stable")]
    if axis.size < 32:
        return None
    views = tuple(
        _view(axis, light[i], lasing_nm, resolution_nm, None if peaks is None else peaks[i]) for i in order
    )
    pitch = float(axis[-1] - axis[0]) / (axis.size - 1)
    tracks = [
        track for track in _tracks([view.peaks for view in views], pitch) if len(track.steps) >= LEAST_SEEN
    ]
    tracks = sorted(tracks, key=lambda track: track.brightest, reverse=True)[: 3 * MOST_LINES]
    tracks.sort(key=lambda track: track.peaks[-1].wavelength_nm)
    found = _measured(axis, views, tracks)
    followed = FollowedLines(axis, order, fluence_uj_cm2[order], views, tuple(tracks), *found)
    _judge(followed)
    return followed


def _view(
    axis: Floats,
    counts: Floats,
    lasing_nm: tuple[float, float],
    resolution_nm: float | None,
    peaks: Sequence[Peak] | None,
) -> SpectrumView:
    noise = spectrum_noise(counts)
    continuum = fit_continuum(axis, counts, noise).counts
    if peaks is None:
        peaks = find_peaks(axis, counts, noise=noise, continuum=continuum, resolution_nm=resolution_nm)
    least = 1e-12 + 1e-9 * float(np.abs(counts).max())
    inside = tuple(peak for peak in peaks if lasing_nm[0] <= peak.wavelength_nm <= lasing_nm[1])
    return SpectrumView(counts - continuum, np.maximum(noise, least), inside)


def _tracks(peaks: Sequence[Sequence[Peak]], pitch_nm: float) -> list[Track]:
    """Join peaks from one fluence to the next: nearest pairs first, each used once."""
    tracks: list[Track] = []
    for step, seen in enumerate(peaks):
        open_tracks = [track for track in tracks if step - track.steps[-1] <= _MAX_GAP + 1]
        joined = _joined(open_tracks, seen, step, pitch_nm)
        for place, peak in enumerate(seen):
            if place not in joined:
                tracks.append(Track())
            track = open_tracks[joined[place]] if place in joined else tracks[-1]
            track.steps.append(step)
            track.peaks.append(peak)
    return tracks


def _joined(tracks: Sequence[Track], peaks: Sequence[Peak], step: int, pitch_nm: float) -> dict[int, int]:
    expected = [track.expected_nm(step) for track in tracks]
    pairs = sorted(
        (abs(nm - peak.wavelength_nm), p, t)
        for t, nm in enumerate(expected)
        for p, peak in enumerate(peaks)
        if abs(nm - peak.wavelength_nm) <= max(_REACH * peak.fwhm_nm, _LEAST_REACH_PITCHES * pitch_nm)
    )
    joined: dict[int, int] = {}
    taken: set[int] = set()
    for _, p, t in pairs:
        if p not in joined and t not in taken:
            joined[p] = t
            taken.add(t)
    return joined


def _measured(axis: Floats, views: Sequence[SpectrumView], tracks: Sequence[Track]) -> tuple[Floats, Floats]:
    """Light of all lines in all spectra with its error, each of shape ``(k, line)``."""
    light = np.zeros((len(views), len(tracks)))
    sigma = np.full(light.shape, np.inf)
    if not tracks:
        return light, sigma
    places = np.array([track.places_nm(len(views)) for track in tracks])
    widths = np.array([track.fwhm_nm for track in tracks])
    pitch = float(axis[-1] - axis[0]) / (axis.size - 1)
    widths = np.maximum(widths, 1.5 * pitch)
    for step, view in enumerate(views):
        away = axis[:, None] - places[:, step]
        near = (np.abs(away) <= 2.0 * widths).any(axis=1)
        lines = np.stack([gaussian(away[near, j], float(w))[0] for j, w in enumerate(widths)], axis=1) * pitch
        weight = 1.0 / view.noise[near] ** 2
        normal = (lines.T * weight) @ lines
        normal[np.diag_indices_from(normal)] *= 1.0 + 1e-6
        spread = np.linalg.pinv(normal, hermitian=True)
        light[step] = spread @ (lines.T @ (weight * view.above[near]))
        sigma[step] = np.sqrt(np.maximum(np.diag(spread), 0.0))
    return light, sigma


def _judge(found: FollowedLines) -> None:
    """Say of each track whether it was followed, and if not, why."""
    for track in found.tracks:
        steps = np.array(track.steps)
        jumps = np.diff(track.wavelength_nm)
        if steps.size < _STEADY * (steps[-1] - steps[0] + 1):
            track.why_not = "it comes and goes"
        elif np.sqrt(np.mean((jumps - jumps.mean()) ** 2)) > max(_JUMPS * track.fwhm_nm, found.pitch_nm):
            track.why_not = "it hops"
    for i, one in enumerate(found.tracks):
        for other in found.tracks[i + 1 :]:
            _judge_pair(one, other, len(found.views))
    for place, track in enumerate(found.tracks):
        if not track.why_not and _loses_light(found.light[:, place], track):
            track.why_not = "it exchanges light with other lines"
    every = sum(len(view.peaks) for view in found.views)
    if sum(len(track.steps) for track in found.tracks if not track.why_not) < _ORDERLY * every:
        for track in found.tracks:
            track.why_not = track.why_not or "the lines differ from point to point"


def _judge_pair(one: Track, other: Track, count: int) -> None:
    width = max(one.fwhm_nm, other.fwhm_nm)
    first, last = max(one.steps[0], other.steps[0]), min(one.steps[-1], other.steps[-1])
    gap = np.abs(one.places_nm(count) - other.places_nm(count))
    if last >= first and gap[first : last + 1].min() < _NEAR * width:
        one.why_not = one.why_not or "it crosses another line"
        other.why_not = other.why_not or "it crosses another line"
    early, late = (one, other) if one.steps[-1] < other.steps[0] else (other, one)
    if 0 < late.steps[0] - early.steps[-1] <= _HOP_STEPS:
        apart = abs(float(early.wavelength_nm[-1] - late.wavelength_nm[0]))
        if apart < _HOP * width:
            early.why_not = early.why_not or "it hops"
            late.why_not = late.why_not or "it hops"


def _loses_light(light: Floats, track: Track) -> bool:
    """Whether most of a line's light is gone, twice running, at higher fluences that belong to its fit."""
    seen = light[track.steps[0] : track.steps[0] + POINTS_ABOVE]
    if seen.size < 3:
        return False
    later = np.maximum(seen[1:-1], seen[2:])
    return bool((later < _LOSES * np.maximum.accumulate(seen)[:-2]).any())


def mode_onsets(
    found: FollowedLines | None,
    *,
    photon_order: int = 2,
    fluence_sigma_rel: float = 0.0,
    known: Known = NOTHING_KNOWN,
) -> Modes:
    """Fit the onset of each line to the light of that line alone.

    :param found: what :func:`follow_lines` returned.
    :param photon_order: photons absorbed per excitation, 1 to 4.
    :param fluence_sigma_rel: point-to-point relative error of the fluences.
    :param known: of the pulses and the spot; a wander of the fluence is not in the interval of a mode.
    """
    if found is None or found.fluence_uj_cm2.size < LEAST_POINTS:
        return Modes(reason=f"fewer than {LEAST_POINTS} usable spectra")
    if not found.tracks:
        return Modes(reason="no line is seen at three fluences or more")
    early = sorted(
        range(len(found.tracks)), key=lambda j: (found.tracks[j].steps[0], -found.tracks[j].brightest)
    )
    options = Options(photon_order, size=_GRID, smear=known.smear, pulse_cv_sigma=known.pulse_cv_sigma)
    modes = [_mode(found, j, options, fluence_sigma_rel) for j in early[:MOST_LINES]]
    return Modes(tuple(sorted(modes, key=_rank)))


def _rank(mode: ModeOnset) -> tuple[int, float]:
    """Earliest onset first; an onset below the scan before all others, lines without one last."""
    if mode.onset_uj_cm2 is not None:
        return 1, mode.onset_uj_cm2
    return {"below_range": 0, "not_followed": 3}.get(mode.status, 2), -mode.share


def _mode(found: FollowedLines, place: int, options: Options, fluence_sigma_rel: float) -> ModeOnset:
    track, light = found.tracks[place], found.light[:, place]
    last = track.steps[-1]
    seen_nm = np.full(light.size, np.nan)
    seen_nm[track.steps] = track.wavelength_nm
    every = float(np.maximum(found.light[last], 0.0).sum())
    mode = ModeOnset(
        wavelength_nm=track.peaks[-1].wavelength_nm,
        fwhm_nm=track.fwhm_nm,
        status="not_followed",
        reason=track.why_not,
        seen=len(track.steps),
        share=float(np.clip(light[last] / every, 0.0, 1.0)) if every > 0 else 0.0,
        light=LineLight(found.fluence_uj_cm2, light, found.light_sigma[:, place], seen_nm),
    )
    return mode if track.why_not else _with_onset(mode, track, options, fluence_sigma_rel)


def _with_onset(mode: ModeOnset, track: Track, options: Options, fluence_sigma_rel: float) -> ModeOnset:
    assert mode.light is not None
    stop = min(track.steps[0] + POINTS_ABOVE, track.steps[-1] + 1)
    data = prepare(mode.light.fluence_uj_cm2[:stop], mode.light.light[:stop], None, fluence_sigma_rel)
    fit = fit_prepared(data, options, LineEvidence.of(stop, None, None))
    light = mode.light
    mode = replace(mode, status=fit.status, reason=fit.reason, bound=fit.bound)
    if fit.threshold_uj_cm2 is None or fit.ci95 is None:
        return mode
    low, high = fit.ci95
    steep = _steep_start(light)
    reason = f"onset of this line, 95 % interval {low:.4g} to {high:.4g}"
    if steep is not None:
        low, high = min(low, steep[0]), max(high, steep[1])
        reason = f"onset of this line, between {low:.4g} and {high:.4g}: it shares its light right above"
    onset = float(np.clip(fit.threshold_uj_cm2, low, high))
    return replace(mode, onset_uj_cm2=onset, ci95=(low, high), reason=reason)


def _steep_start(light: LineLight) -> tuple[float, float] | None:
    """Bracket an onset whose light rises at first more steeply than later, as no curve of the library does.

    A mode that lases alone at first and then shares its light is such. A line through its first clear points,
    or through the next ones, would have it shine where it is dark.
    """
    f, y = light.fluence_uj_cm2, light.light
    clear = (y > _CLEAR_SIGMA * light.light_sigma) & (y > _CLEAR_SHARE * np.append(y[1:], y[-1:]))
    dark = np.flatnonzero(~clear[: int(np.argmax(y)) + 1])
    first = int(dark[-1]) + 1 if dark.size else 0
    if first < 1 or first + 2 >= f.size:
        return None
    dark_at = float(f[first - 1])
    meets = [_axis_at(f[i : i + 2], y[i : i + 2]) for i in (first, first + 1)]
    if meets[0] < dark_at:
        return dark_at, float(f[first])
    return (max(meets[0], dark_at), float(f[first])) if meets[1] < dark_at else None


def _axis_at(f: Floats, y: Floats) -> float:
    """Fluence at which the line through two points meets zero; far below where it does not rise."""
    rise = float(y[1] - y[0])
    return float(f[0] - y[0] * (f[1] - f[0]) / rise) if rise > 0 else -np.inf


def randomness(found: FollowedLines | None) -> Randomness | None:
    """Say whether the lines lie as a cavity's do, and whether they move beside their common shift.

    The spacing is that of the spectrum with the most lines, the brightest of these. None without a line.

    :param found: what :func:`follow_lines` returned.
    """
    if found is None or not any(view.peaks for view in found.views):
        return None
    counts = [len(view.peaks) for view in found.views]
    richest = max(range(len(counts)), key=lambda step: (counts[step], step))
    at_nm = sorted(peak.wavelength_nm for peak in found.views[richest].peaks)
    spacing = spacing_of(at_nm)
    length, power = power_transform(found.wavelength_nm, found.views[richest].above)
    common, own, error, moving, followed = _motion(found)
    return Randomness(
        verdict=spacing.verdict,
        lines=spacing.lines,
        fluence_uj_cm2=float(found.fluence_uj_cm2[richest]),
        wavelength_nm=tuple(at_nm),
        spacing_nm=spacing.spacing_nm,
        spacing_cv=spacing.spacing_cv,
        comb_misfit=spacing.comb_misfit,
        two_comb_misfit=spacing.two_comb_misfit,
        n_group_length_um=spacing.n_group_length_um,
        followed=followed,
        common_shift_nm=common,
        motion_nm=own,
        motion_error_nm=error,
        moving=moving,
        length_um=length,
        power=power,
    )


def _motion(
    found: FollowedLines,
) -> tuple[float | None, float | None, float | None, bool | None, int]:
    """Common shift, own motion and its noise (nm), whether lines move, and how many were followed.

    With fewer than three lines at a time, what one does cannot be told from what all do.
    """
    tracks = [track for track in found.tracks if not track.why_not and len(track.steps) >= 4]
    if len(tracks) < 3:
        return None, None, None, None, len(tracks)
    place = np.full((len(tracks), len(found.views)), np.nan)
    error = np.full(place.shape, np.nan)
    for row, track in enumerate(tracks):
        place[row, track.steps] = track.wavelength_nm
        noise = [peak.fwhm_nm / 2.355 / max(peak.prominence_sigma, 1.0) for peak in track.peaks]
        error[row, track.steps] = np.hypot(noise, _PITCH_ERROR * found.pitch_nm)
    together = np.isfinite(place).sum(axis=0) >= 3
    place, error = place[:, together], error[:, together]
    if place.shape[1] < 4:
        return None, None, None, None, len(tracks)
    rest = place - np.nanmean(place, axis=1, keepdims=True)
    shift = np.zeros(place.shape[1])
    for _ in range(5):
        shift += np.nanmedian(rest, axis=0)
        rest = place - shift
        rest -= np.nanmean(rest, axis=1, keepdims=True)
    seen = np.isfinite(rest).sum(axis=1)
    use = seen >= 4
    if use.sum() < 3:
        return None, None, None, None, len(tracks)
    freedom = seen[use] * (1.0 - 1.0 / use.sum()) - 1.0
    own = np.sqrt(np.nansum(rest[use] ** 2, axis=1) / freedom)
    expected = np.sqrt(np.nanmean(error[use] ** 2, axis=1))
    chi2 = float(np.nansum((rest[use] / error[use]) ** 2) / freedom.sum())
    limit = 1.0 + 4.0 * np.sqrt(2.0 / freedom.sum())
    motion, noise_nm = float(np.median(own)), float(np.median(expected))
    moving = chi2 > limit and motion > _MOVES * noise_nm
    return float(np.ptp(shift)), motion, noise_nm, bool(moving), int(use.sum())
