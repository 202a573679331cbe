"""The figures of a run in its report: drawing, caption, words for those who do not see it, numbers."""

from __future__ import annotations

from collections.abc import Callable, Iterator, Mapping, Sequence
from functools import partial
from typing import TYPE_CHECKING

import numpy as np

from labctl.model.errors import LabctlError
from labctl.model.results.shot_statistics import ShotStatistics
from labctl.runner.documents.markup import Data, figure, listed, paragraphs, section, text
from labctl.runner.figures.base import in_figure
from labctl.runner.figures.compared import Evaluated
from labctl.runner.figures.shots import shots_figure
from labctl.runner.figures.stability import stability_drawing, unit_of
from labctl.runner.figures.sweep import RunPicture, colour_key, drawings, picture_of
from labctl.runner.refit import STABILITY_ID, refit_stability
from labctl.runner.single_shots.statistics import lines_of, statistics_of

if TYPE_CHECKING:
    from matplotlib.figure import Figure

    from labctl.runner.figures.base import Layout

_MOST_SPECTRA = 60
"""Spectra that a reader can look at one by one; of more, so many are chosen evenly."""


def pictures(one: Evaluated, mark: str) -> str:
    """Return the figures of a run, or why there are none.

    :param mark: begins the names of its tables and of their links, which are unique in a page.
    """
    if not len(one.run):
        said = _burst(one) if one.run.shots is not None else paragraphs(["none: no point was measured"])
        return section("Figures" if one.run.shots is None else "Single shots", said)
    if one.run.start.procedure == STABILITY_ID:
        return section("Emission over time", _stability(one))
    picture = picture_of(one.run, one.report.result)
    stem = one.run.path.stem
    made = {"threshold": _threshold, "spectra": _spectra, "peak": _peak, "lines": _lines}
    titles = {
        "threshold": "Light-light curve",
        "spectra": "Spectra",
        "peak": "One lasing line",
        "lines": "Lines",
    }
    drawn = drawings(picture)
    shots = _shots(picture.shots, drawn["shots"], stem) if "shots" in drawn else ""
    parts = [
        section(titles[name], make(picture, drawn[name], stem, mark))
        for name, make in made.items()
        if name in drawn
    ]
    return "".join((*parts, section("Single shots", shots)))


Draw = Callable[["Layout"], "Figure"]


def _threshold(picture: RunPicture, draw: Draw, stem: str, mark: str) -> str:  # noqa: ARG001
    names = ("fluence_uj_cm2", "fluence_sigma_rel", "signal_counts_per_pulse", "signal_sigma", "fwhm_nm")
    signal = (picture.signal, picture.signal_sigma, picture.fwhm_nm)
    columns = (picture.fluence_uj_cm2, picture.fluence_sigma_rel, *signal)
    links = [Data(f"{stem}_curve.csv", names, np.column_stack(columns).tolist()).link()]
    if picture.curve is not None:
        fit = ("fluence_uj_cm2", "fit_counts_per_pulse", "low95", "high95")
        links.append(Data(f"{stem}_fit.csv", fit, np.column_stack(picture.curve).tolist()).link())
    caption = (
        "Emission against pump fluence in double logarithm, with what the fit leaves of each point and the "
        "fit's 95 % band; the same with linear axes; width of the emission; threshold by each definition "
        "with its 95 % interval. The bar across is the 95 % interval of the onset. Points without a bar: "
        "excluded from the fit, or no error known."
    )
    alt = (
        f"Light-light curve of {picture.sample}: {picture.verdict or 'no threshold'}. "
        f"{picture.fluence_uj_cm2.size} points from {picture.fluence_uj_cm2.min():.4g} to "
        f"{picture.fluence_uj_cm2.max():.4g} uJ/cm2."
    )
    return figure(draw, caption, alt, *links)


def _spectra(picture: RunPicture, draw: Draw, stem: str, mark: str) -> str:
    order = np.argsort(picture.fluence_uj_cm2, kind="stable")
    chosen = order[np.unique(np.linspace(0, order.size - 1, min(_MOST_SPECTRA, order.size)).astype(int))]
    x = picture.wavelength_nm[picture.pixels]
    names = ["wavelength_nm", *(f"{picture.fluence_uj_cm2[n]:.5g} uJ/cm2" for n in chosen)]
    rows = np.column_stack([x, picture.spectra[chosen][:, picture.pixels].T])
    data = Data(f"{stem}_spectra.csv", names, _rounded(rows))
    link = data.link().replace("<a ", f'<a id="{mark}-spectra" ', 1)
    caption = (
        f"Spectra at rising fluence, dark subtracted{colour_key(picture)}; beside each scaled spectrum its "
        f"{picture.convention} fluence."
    )
    alt = (
        f"Emission spectra of {picture.sample} from {x[0]:.4g} to {x[-1]:.4g} nm at "
        f"{len(picture.shown)} fluences, below the onset, above it, and stacked."
    )
    return figure(draw, caption, alt, link) + _viewer(mark, len(chosen))


def _viewer(mark: str, count: int) -> str:
    """Return what a script fills: one spectrum, chosen by a slider."""
    return (
        f'<div class="viewer" data-table="{mark}-spectra" hidden><label for="{mark}-which">Spectrum</label>'
        f'<input id="{mark}-which" type="range" min="0" max="{count - 1}" value="{count - 1}" step="1">'
        f'<output for="{mark}-which" aria-live="polite"></output>'
        '<svg role="img" aria-label="The chosen spectrum"></svg></div>'
    )


def _rounded(rows: np.ndarray) -> list[list[str]]:
    return [[f"{row[0]:.7g}", *(f"{value:.4g}" for value in row[1:])] for row in rows.tolist()]


def _peak(picture: RunPicture, draw: Draw, stem: str, mark: str) -> str:  # noqa: ARG001
    peak = picture.peak
    assert peak is not None
    names = ("wavelength_nm", peak.unit.replace(" ", "_"), "fit")
    rows = np.column_stack([peak.wavelength_nm, peak.counts, peak.fit_counts]).tolist()
    sign = "at least" if peak.lower_bound else "of"
    caption = (
        f"The strongest line at the highest fluence, with a {peak.line_shape.capitalize()} fit; the arrow is "
        "its measured width, the grey bar the resolution of the spectrometer."
    )
    alt = f"Lasing line at {peak.centre_nm:.2f} nm, {peak.seen_fwhm_nm:.3f} nm wide, Q {sign} {peak.q:.0f}."
    return figure(draw, caption, alt, Data(f"{stem}_peak.csv", names, rows).link(), small=True)


def _lines(picture: RunPicture, draw: Draw, stem: str, mark: str) -> str:  # noqa: ARG001
    modes, randomness = picture.modes, picture.randomness
    assert modes is not None
    names = ("line_nm", "fluence_uj_cm2", "counts_per_pulse", "sigma", "seen_at_nm")
    rows = [
        [mode.wavelength_nm, *map(float, point)]
        for mode in modes.modes
        if (light := mode.light) is not None
        for point in zip(
            light.fluence_uj_cm2, light.light, light.light_sigma, light.wavelength_nm, strict=True
        )
    ]
    links = [Data(f"{stem}_lines.csv", names, rows).link()]
    if randomness is not None and randomness.length_um.size:
        power = np.column_stack([randomness.length_um, randomness.power]).tolist()
        links.append(Data(f"{stem}_fourier.csv", ("optical_length_um", "power"), power).link())
    caption = (
        "Light of each line, the bars above being the onset of each with its 95 % interval; place of each "
        "line (grey: not followed); power Fourier transform, in which a comb has maxima at n L and its "
        "multiples."
    )
    said = modes.text if randomness is None else f"{modes.text}; {randomness.text}"
    return figure(draw, caption, f"Lines of {picture.sample}: {said}.", *links)


def _burst(one: Evaluated) -> str:
    """Return what the shots of a run without points say."""
    try:
        found = statistics_of(one.run)
    except LabctlError as exc:
        return paragraphs([f"no statistics: {exc.message}"])
    if not found:
        return paragraphs(["no statistics: too few shots"])
    draw = partial(shots_figure, in_figure(one.run.start.sample), found, None)
    return _shots(found, draw, one.run.path.stem)


def _shots(found: Sequence[ShotStatistics], draw: Draw, stem: str) -> str:
    names = ("fluence_uj_cm2", "shots", "mean_counts", "cv", "cv_sigma", "own_cv", "own_cv_sigma")
    rows = []
    for one in found:
        moments = one.moments
        values = (
            moments.mean.value,
            moments.cv.value,
            moments.cv.sigma,
            moments.own_cv.value,
            moments.own_cv.sigma,
        )
        rows.append([one.fluence_uj_cm2, moments.n, *("" if value is None else value for value in values)])
    said = listed([line for one in found for line in lines_of(one)])
    caption = "Single shots: scatter, tail, overlap of spectra, lines and Q against fluence."
    alt = f"Statistics of single shots at {len(found)} fluences; the sentences below say the same."
    return figure(draw, caption, alt, Data(f"{stem}_shots.csv", names, rows).link()) + said


def _stability(one: Evaluated) -> str:
    try:
        measured, fit = refit_stability(one.run)
        draw = stability_drawing(one.run)
    except LabctlError as exc:
        return paragraphs([f"no figure: {exc.message}"])
    names = ("time_s", "light_rel", "sigma", "fitted", "used")
    fitted = measured.fitted_at(fit, measured.time_s)
    rows = [
        [*map(float, row), int(used)]
        for *row, used in zip(
            measured.time_s, measured.light, measured.sigma, fitted, measured.usable, strict=True
        )
    ]
    unit, size = unit_of(float(measured.time_s[-1]))
    alt = f"Emission of {one.run.start.sample} over {measured.time_s[-1] / size:.3g} {unit}, with its decay."
    caption = "Emission over time with its fit, residuals in standard errors, first and last spectra."
    return figure(draw, caption, alt, Data(f"{one.run.path.stem}_light.csv", names, rows).link())


def compared_pictures(drawn: Mapping[str, Draw]) -> Iterator[str]:
    """Yield the figures in which runs stand together."""
    captions = {
        "thresholds": "Light-light curves with their fits; bars across: 95 % interval of each onset.",
        "stability": "Emission over time, and what was left at the end with its 95 % interval.",
    }
    for name, draw in drawn.items():
        yield figure(draw, captions[name], f"Runs of this report together: {text(name)}.")
