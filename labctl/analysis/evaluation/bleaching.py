"""How a sample fades in a sweep, by its references, and how the rest of the sweep is corrected for it."""

from __future__ import annotations

import math
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, replace
from types import MappingProxyType
from typing import Literal

import numpy as np
import scipy
from numpy.typing import NDArray

from labctl.analysis.light_light import LightLight
from labctl.analysis.threshold.result import ThresholdResult
from labctl.model.plan import Correction
from labctl.model.records import FloatArray
from labctl.model.results.sweep import K95, BleachingResult

Model = Literal["excitation", "signal"]
SIGNIFICANCE = 0.01
"""Chance of calling a stable sample bleached, or brightened."""
_TRUST = 4.0
"""The declared errors count as much as so many degrees of freedom: a handful of residuals, which a smooth
curvature may inflate as well as noise, does not overrule them alone."""
_J_CM2 = 1e6


@dataclass(frozen=True, slots=True)
class Bleaching:
    """The light at the reference fluence over the dose of a run; arrays have shape ``(reference,)``.

    :param change_rel: of the light from the first reference to the last, along an exponential in dose;
        with its standard error.
    :param change_per_j_cm2: relative change per dose of 1 J/cm2, with its standard error.
    :param p_value: chance of a slope as large without any change.
    :param dose_uj_cm2: where the references stand; ``ln_light`` the logarithm of their light over that of
        the first, freed of how far each fluence was off; ``ln_sigma`` its standard error.
    """

    fluence_uj_cm2: float
    change_rel: float
    change_sigma_rel: float
    change_per_j_cm2: float
    change_per_j_cm2_sigma: float
    p_value: float
    dose_uj_cm2: FloatArray
    ln_light: FloatArray
    ln_sigma: FloatArray

    @property
    def flags(self) -> tuple[str, ...]:
        """``bleaching`` or ``brightening`` where the change is beyond chance."""
        if self.p_value >= SIGNIFICANCE:
            return ()
        return ("bleaching",) if self.change_per_j_cm2 < 0 else ("brightening",)

    def record(
        self, correction: Correction = "off", laws: Mapping[str, float] = MappingProxyType({})
    ) -> BleachingResult:
        """Return what of it is kept with a run.

        :param correction: what was done about it in the fit.
        :param laws: how probable each law of the loss is.
        """
        return BleachingResult(
            references=int(self.dose_uj_cm2.size),
            fluence_uj_cm2=self.fluence_uj_cm2,
            change_rel=self.change_rel,
            change_sigma_rel=self.change_sigma_rel,
            change_per_j_cm2=self.change_per_j_cm2,
            change_per_j_cm2_sigma=self.change_per_j_cm2_sigma,
            p_value=self.p_value,
            dose_uj_cm2=tuple(self.dose_uj_cm2.tolist()),
            light_rel=tuple(np.exp(self.ln_light).tolist()),
            light_sigma_rel=tuple(self.ln_sigma.tolist()),
            flags=self.flags,
            corrected=correction,
            laws=dict(laws),
        )


_NEAR, _NEIGHBOURS = 0.47, 3
"""Neighbours of the reference lie within this of it, in ln fluence; as many it needs."""
_ORDER_WITHIN, _ORDER_SIGMA = 0.3, 0.5
_LINE_NM = 5.0
_SCATTER_CHANCE = 0.05


def measure_bleaching(curve: LightLight, photon_order: int) -> Bleaching | None:
    """Measure it from the references of a sweep; None where fewer than two are shown to be luminescence.

    With two, the declared errors alone say what is beyond chance. A stated wander of the fluence counts for
    each, and is the same for those that follow one another.
    """
    own = curve.at_reference
    usable = own & (curve.signal > 0) & (curve.fluence_uj_cm2 > 0) & ~_lines(curve)
    ref = curve.only(usable)
    if ref.dose_uj_cm2.size < 2 or np.ptp(ref.dose_uj_cm2) <= 0:
        return None
    nominal = float(np.median(ref.fluence_uj_cm2))
    scatter = _scatter(curve, nominal, photon_order)
    if scatter is None:
        return None
    ln_light = np.log(ref.signal) - photon_order * np.log(ref.fluence_uj_cm2 / nominal)
    sigma = scatter * _ln_sigma(ref, photon_order)
    group = np.cumsum(np.diff(np.flatnonzero(usable), prepend=-2) > 1)
    together = np.bincount(group)[group]
    sigma = np.hypot(sigma, photon_order * curve.known.wander_rel * np.sqrt(together))
    slope, slope_sigma, p_value = _slope(ref.dose_uj_cm2, ln_light, sigma)
    span = float(ref.dose_uj_cm2[-1] - ref.dose_uj_cm2[0])
    return Bleaching(
        fluence_uj_cm2=nominal,
        change_rel=float(np.expm1(slope * span)),
        change_sigma_rel=float(np.exp(slope * span)) * slope_sigma * span,
        change_per_j_cm2=slope * _J_CM2,
        change_per_j_cm2_sigma=slope_sigma * _J_CM2,
        p_value=p_value,
        dose_uj_cm2=ref.dose_uj_cm2,
        ln_light=ln_light - ln_light[0],
        ln_sigma=sigma,
    )


def _ln_sigma(points: LightLight, photon_order: int) -> FloatArray:
    own = np.hypot(points.signal_sigma / points.signal, photon_order * points.fluence_sigma_rel)
    return np.asarray(np.maximum(np.nan_to_num(own, nan=0.0), 1e-4))


def _lines(curve: LightLight) -> NDArray[np.bool_]:
    """Whether each spectrum shows lasing peaks, or is no wider than a line; False where nobody knows."""
    none = np.zeros(curve.signal.size, dtype=np.bool_)
    count = none if curve.peak_count is None else curve.peak_count > 0
    narrow = none if curve.fwhm_nm is None else curve.fwhm_nm < _LINE_NM
    return np.asarray(count | narrow, dtype=np.bool_)


def _scatter(curve: LightLight, fluence: float, photon_order: int) -> float | None:
    """Return by how much the neighbours of a fluence scatter beyond their declared errors, 1 or more.

    None where they do not grow with the photon order, as luminescence does, or are too few to tell.
    """
    usable = ~curve.reference & (curve.signal > 0) & (curve.fluence_uj_cm2 > 0)
    near = curve.only(usable)
    far = np.abs(np.log(near.fluence_uj_cm2 / fluence))
    chosen = far <= _NEAR
    if chosen.sum() < _NEIGHBOURS:
        chosen = far <= np.sort(far)[: _NEIGHBOURS + 1].max(initial=0.0)
    near = near.only(chosen)
    if near.signal.size < _NEIGHBOURS:
        return None
    x, y = np.log(near.fluence_uj_cm2 / fluence), np.log(near.signal)
    sigma = _ln_sigma(near, photon_order)
    if np.ptp(x) < 0.05:
        return None
    slope, error, freedom, scale = _line(x, y, sigma)
    known = error <= _ORDER_SIGMA and abs(slope - photon_order) <= _ORDER_WITHIN + 2 * error
    # chi2 over its freedom is the square of the scale, the trust in the declared errors counted in.
    by_chance = scipy.special.chdtrc(freedom - _TRUST, freedom * scale**2 - _TRUST) > _SCATTER_CHANCE
    return (1.0 if by_chance else scale) if known else None


def _slope(x: FloatArray, y: FloatArray, sigma: FloatArray) -> tuple[float, float, float]:
    """Weighted straight line: slope, its standard error, and the chance of one as large by luck."""
    slope, error, freedom, _ = _line(x, y, sigma)
    return slope, error, chance_of(slope, error, freedom)


def _line(x: FloatArray, y: FloatArray, sigma: FloatArray) -> tuple[float, float, float, float]:
    """Weighted straight line: slope, its standard error, freedom, and the scatter over the declared one."""
    w = 1 / sigma**2
    dx = x - (w @ x) / w.sum()
    size = float(w @ dx**2)
    slope = float((w * dx) @ y) / size
    rest = y - (w @ y) / w.sum() - slope * dx
    alone = 1 / math.sqrt(size)
    error, freedom = scaled_error(alone, float(w @ rest**2), x.size - 2)
    return slope, error, freedom, error / alone


@dataclass(frozen=True, slots=True)
class Law:
    """How the sample may lose its light: at a rate ~ F^``exponent``, its emitters or its signal alone."""

    exponent: float
    kind: Model

    @property
    def name(self) -> str:
        """In a few words.

        >>> Law(2.0, "signal").name
        'signal, rate ~ F^2'
        """
        return f"{'emitters' if self.kind == 'excitation' else 'signal'}, rate ~ F^{self.exponent:g}"


STABLE = "no loss"
_KINDS: Mapping[Model, float] = {"excitation": 0.7, "signal": 0.3}
"""How probable each is before the data: most films lose emitters."""
_EXPONENTS = (1.0, 2.0, 4.0)
_NO_LOSS = 0.5
"""How probable no loss at all is before the data."""
_AMOUNT = 0.3
"""Standard deviation of the loss over a run before the data, in ln light."""
_DEPARTURE = 0.1
"""By how much of itself a loss may depart from an exponential: recovery, a part that lasts."""
_SMALL = 0.03
"""Largest loss, in ln light, up to which a fit is corrected by its own slopes instead of being made again."""
_CLOSE = 0.005
_WORTH = 0.02
_LEAST_CHANCE = 0.003
_OFF_CURVE = 0.005
"""By how much the references together may lie off the fitted curve, whose luminescence is a model."""
_MOST_REFERENCES = 24
_LEVEL = 10.0


@dataclass(frozen=True, slots=True)
class _Loss:
    """The light left at every point under one law, as the references alone have it.

    :ivar law: None for no loss.
    :ivar ln_left: logarithm of the part left, shape (n,): ``spread``, shape (n, unknown), times ``mean`` of
        unknowns which before the data had the covariance ``prior`` and the means 0.
    :ivar ln_prior: logarithm of how probable the law is before the data, ``ln_chance`` with the references.
    """

    law: Law | None
    ln_left: FloatArray
    spread: FloatArray
    mean: FloatArray
    prior: FloatArray
    ln_prior: float
    ln_chance: float

    def fresh(self, curve: LightLight, photon_order: int) -> LightLight:
        """Return the curve as the fresh sample would have given it."""
        if self.law is None:
            return curve
        if self.law.kind == "excitation":
            return replace(curve, fluence_uj_cm2=curve.fluence_uj_cm2 * np.exp(self.ln_left / photon_order))
        left = np.exp(self.ln_left)
        return replace(curve, signal=curve.signal / left, signal_sigma=curve.signal_sigma / left)


def dose_of_order(curve: LightLight, exponent: float) -> FloatArray:
    """Return the sum of pulses x F^``exponent`` up to the middle of each point's light, over all of it.

    :param curve: every point of a run, in order; shape (n,) comes back.
    """
    after, before = [], 0.0
    for middle in curve.dose_uj_cm2.tolist():
        before = max(2 * middle - before, before)
        after.append(before)
    known = np.isfinite(curve.fluence_uj_cm2) & (curve.fluence_uj_cm2 > 0)
    fluence = np.where(known, curve.fluence_uj_cm2, curve.fluence_set_uj_cm2)
    own = np.diff(after, prepend=0.0) * (fluence / float(fluence.max())) ** (exponent - 1)
    return np.asarray((np.cumsum(own) - own / 2) / max(float(own.sum()), 1e-300))


def _losses(curve: LightLight, bleaching: Bleaching, correction: Correction) -> list[_Loss]:
    """Return the light left by every law that may hold; the most probable one is never left out.

    A loss is an exponential in the light of a law's order, of an amount that nobody knows, and departs from
    it in proportion. The sample is as the first reference found it.
    """
    n = curve.dose_uj_cm2.size
    found = []
    if correction == "auto":
        noise = np.diag(bleaching.ln_sigma**2)
        prior, chance = float(np.log(_NO_LOSS)), _ln_normal(bleaching.ln_light, noise)
        none = np.zeros((n, 0))
        found.append(_Loss(None, np.zeros(n), none, none[0], none[:0], prior, prior + chance))
    kinds = [kind for kind in _KINDS if correction in ("auto", kind)]
    for kind in kinds:
        share = _KINDS[kind] / sum(_KINDS[k] for k in kinds) / len(_EXPONENTS)
        found += [_loss(curve, bleaching, Law(m, kind), share * (1 - _NO_LOSS)) for m in _EXPONENTS]
    best = max(loss.ln_chance for loss in found)
    return [loss for loss in found if loss.ln_chance > best + np.log(_LEAST_CHANCE)]


def _loss(curve: LightLight, bleaching: Bleaching, law: Law, chance: float) -> _Loss:
    seen, ln_light = bleaching.dose_uj_cm2, bleaching.ln_light
    dose = dose_of_order(curve, law.exponent)
    at = np.interp(seen, curve.dose_uj_cm2, dose)
    first, last = float(at[0]), float(dose[-1])
    span = max(last - first, 1e-300)
    nodes = (at - first) / span
    if nodes[-1] < 1 - 1e-6:
        nodes = np.append(nodes, 1.0)  # nobody has seen what the last points did
    amount = float(np.hypot(ln_light[-1], 0.01))
    prior = _AMOUNT**2 * np.outer(nodes, nodes)
    prior += (_DEPARTURE * amount) ** 2 * np.minimum.outer(nodes, nodes)
    told = prior[:, : ln_light.size]
    observed = told[: ln_light.size] + np.diag(bleaching.ln_sigma**2)
    ln_prior = float(np.log(chance))
    ln_chance = ln_prior + _ln_normal(ln_light, observed)
    mean = told @ np.linalg.solve(observed + _LEVEL**2, ln_light)
    each = np.stack([np.interp((dose - first) / span, nodes, row) for row in np.eye(nodes.size)], axis=1)
    return _Loss(law, each @ mean, each[:, 1:], mean[1:], prior[1:, 1:], ln_prior, ln_chance)


def _ln_normal(values: FloatArray, covariance: FloatArray) -> float:
    """Log density of numbers that share an unknown level."""
    whole = covariance + _LEVEL**2
    return -0.5 * float(values @ np.linalg.solve(whole, values) + np.linalg.slogdet(whole)[1])


@dataclass(frozen=True, slots=True)
class _Branch:
    """A threshold under one law.

    :ivar shift: of ln threshold beside the fit's own, ``variance`` what the loss adds to its variance.
    :ivar better: the loss as the curve has it too; ``left`` the covariance of its unknowns then.
    """

    loss: _Loss
    result: ThresholdResult
    shift: float
    variance: float
    ln_chance: float
    better: _Loss
    left: FloatArray


@dataclass(frozen=True, slots=True)
class Weighed:
    """A threshold over all laws, the curve as the likeliest has it, and how probable each is.

    :ivar losses: what is known of the loss under each law, for another band of the same points.
    """

    result: ThresholdResult
    curve: LightLight
    chances: Mapping[str, float]
    losses: tuple[_Loss, ...] = ()

    @property
    def corrected(self) -> bool:
        """Whether the likeliest law is a loss."""
        return self.chances.get(STABLE, 0.0) < 0.5


def weighed(
    curve: LightLight,
    bleaching: Bleaching,
    correction: Correction,
    photon_order: int,
    fit: Callable[[LightLight], ThresholdResult],
    known: Weighed | None = None,
) -> Weighed:
    """Fit a curve under every law of its loss, and take them together, each as probable as the data have it.

    :param curve: every point of the run, repeated ones among them.
    :param correction: "auto" weighs no loss, loss of emitters and loss of signal; another word is a loss.
    :param known: another band, in which the references have light; the loss is known from it then.
    """
    curve = replace(
        curve, reference=curve.at_reference
    )  # a point repeated above the kink is one of the curve
    if known is not None:
        branches = _branches(known.losses, None, curve, photon_order, fit)
        return _together(
            branches, np.array([known.chances[_name(x)] for x in known.losses]), curve, photon_order
        )
    losses = _losses(curve, bleaching, correction)
    branches = _branches(losses, bleaching, curve, photon_order, fit)
    chance = _chances(branches)
    # Once more about what the curve says of the loss, where that is far from what the references said.
    losses = [b.better if c > _WORTH else b.loss for b, c in zip(branches, chance, strict=True)]
    if any(np.abs(b.loss.ln_left - x.ln_left).max() > _CLOSE for b, x in zip(branches, losses, strict=True)):
        losses = [x for x, c in zip(losses, chance, strict=True) if c > _WORTH]
        branches = _branches(losses, bleaching, curve, photon_order, fit)
        chance = _chances(branches)
    return _together(branches, chance, curve, photon_order)


def _together(
    branches: Sequence[_Branch], chance: FloatArray, curve: LightLight, photon_order: int
) -> Weighed:
    chances = {_name(b.loss): float(c) for b, c in zip(branches, chance, strict=True)}
    likeliest = branches[int(np.argmax(chance))]
    shown = likeliest.loss.fresh(curve, photon_order)
    result = _mixed(branches, chance, likeliest)
    told = tuple(
        replace(b.better, prior=b.left)
        for b, c in zip(branches, chance, strict=True)
        if c > _WORTH or b is likeliest
    )
    out = Weighed(result, shown, chances, told)
    if not out.corrected:
        return out
    return replace(out, result=replace(result, flags=(*result.flags, "bleaching_corrected")))


def _branches(
    losses: Sequence[_Loss],
    bleaching: Bleaching | None,
    curve: LightLight,
    photon_order: int,
    fit: Callable[[LightLight], ThresholdResult],
) -> list[_Branch]:
    """Fit under every law, but where the fit under another one serves.

    :param bleaching: None where the losses are known, but for what they have left unknown.
    """
    fits: list[tuple[_Loss, ThresholdResult]] = []
    chosen = []
    for loss in losses:
        near = next((place for place, (at, _) in enumerate(fits) if _is_near(loss, at)), None)
        if near is None:
            near = len(fits)
            fits.append((loss, fit(loss.fresh(curve, photon_order))))
        chosen.append(near)
    noise = min([r.noise_rel for _, r in fits if r.noise_rel] or [0.05])
    return [
        _branch(loss, *fits[near], bleaching, curve, photon_order, noise)
        for loss, near in zip(losses, chosen, strict=True)
    ]


def _chances(branches: Sequence[_Branch]) -> FloatArray:
    """Return how probable each branch is."""
    ln = [b.ln_chance for b in branches]
    chance = np.exp(np.array(ln) - max(ln))
    return np.asarray(chance / chance.sum())


def _is_near(loss: _Loss, other: _Loss) -> bool:
    """Whether the slopes of the fit under another law serve for this one as well."""
    kinds = {None if x.law is None or not x.ln_left.any() else x.law.kind for x in (loss, other)}
    same = other.law is None or len(kinds - {None}) < 2
    return same and bool(np.abs(loss.ln_left - other.ln_left).max(initial=0.0) <= _SMALL)


def _name(loss: _Loss) -> str:
    return STABLE if loss.law is None else loss.law.name


def _branch(
    loss: _Loss,
    fitted: _Loss,
    result: ThresholdResult,
    bleaching: Bleaching | None,
    curve: LightLight,
    photon_order: int,
    noise: float,
) -> _Branch:
    """Let curve and references say how probable a law is, and move threshold and loss along the slopes.

    :param fitted: the loss for which ``result`` was fitted, this one or one near to it.
    """
    if result.model is None or result.status != "found":
        return _Branch(loss, result, 0.0, 0.0, loss.ln_chance, loss, loss.prior)
    usable = np.isfinite(curve.signal) & (curve.signal > 0) & (curve.fluence_uj_cm2 > 0)
    seen = () if bleaching is None else bleaching.dose_uj_cm2
    reference = curve.reference & np.isin(curve.dose_uj_cm2, seen)
    used = usable & (reference | ~curve.reference)
    reference = reference[used]
    y = curve.signal[used]
    sigma = np.maximum(noise * np.abs(y), np.nan_to_num(curve.signal_sigma[used]))
    if bleaching is not None:
        sigma[reference] = bleaching.ln_sigma * y[reference]
    at, spread = fitted.ln_left[used], loss.spread[used]
    expected, columns, by_loss = _slopes(loss, result, curve.fluence_uj_cm2[used], at, photon_order)
    rest = y - expected
    own = ~reference
    alone, alone_cov, _ = _least_squares(columns[own] / sigma[own, None], rest[own] / sigma[own])
    # Unknown beside threshold and coefficients: the loss, in units of what is probable before the data, and
    # by how much the references, as a whole, lie off the curve.
    scale = np.linalg.cholesky(loss.prior + 1e-12 * np.eye(loss.mean.size))
    more = np.column_stack([(by_loss[:, None] * spread) @ scale, _OFF_CURVE * y * reference])
    rest = rest + by_loss * (at if bleaching is not None else at - loss.ln_left[used])
    unknown, known = more.shape[1], columns.shape[1]
    design = np.vstack([
        np.column_stack([columns, more]) / sigma[:, None],
        np.column_stack([np.zeros((unknown, known)), np.eye(unknown)]),
    ])  # fmt: skip
    both, both_cov, rss = _least_squares(design, np.concatenate([rest / sigma, np.zeros(unknown)]))
    freedom = max(y.size - 5, 1)
    narrowed = float(np.linalg.slogdet(both_cov[known:, known:])[1])
    mean = scale @ both[known:-1]
    return _Branch(
        loss,
        result,
        float(np.clip(both[0] - alone[0], -0.1, 0.1)),
        max(float(both_cov[0, 0] - alone_cov[0, 0]), 0.0) * min(max(rss / freedom, 1.0), 4.0),
        loss.ln_prior - 0.5 * freedom * float(np.log(max(rss, 1e-12))) + 0.5 * narrowed,
        replace(loss, mean=mean, ln_left=loss.spread @ mean),
        scale @ both_cov[known:-1, known:-1] @ scale.T,
    )


def _slopes(
    loss: _Loss, result: ThresholdResult, fluence: FloatArray, ln_left: FloatArray, photon_order: int
) -> tuple[FloatArray, FloatArray, FloatArray]:
    """Return a fitted curve at points, its slopes along threshold and coefficients, and along the loss.

    Shapes (n,), (n, 1 + coefficients) and (n,); the first slope is that along ln threshold.
    """
    model = result.model
    assert model is not None
    excited = loss.law is not None and loss.law.kind == "excitation"
    k, coefficients = int(model.shape[0]), model.coefficients[0]
    x = np.log(fluence) - model.ln_threshold[0] + (ln_left / photon_order if excited else 0.0)
    parts = [model.shapes.columns(x + d, slice(k, k + 1))[:, 0] for d in (-0.01, 0.0, 0.01)]
    slope = coefficients[1:] @ (parts[2] - parts[0]) / 0.02
    free = np.concatenate([[True], coefficients[1:] != 0])
    columns = np.vstack([np.ones_like(x), parts[1]])[free]
    signal = coefficients[free] @ columns
    if excited:
        return signal, np.vstack([-slope, columns]).T, slope / photon_order
    left = np.exp(ln_left)
    return signal * left, (np.vstack([-slope, columns]) * left).T, signal * left


def _least_squares(design: FloatArray, values: FloatArray) -> tuple[FloatArray, FloatArray, float]:
    """Return solution, covariance and smallest sum of squares."""
    size = np.maximum(np.sqrt((design**2).sum(axis=0)), 1e-300)
    covariance = np.linalg.pinv((design / size).T @ (design / size), rcond=1e-12, hermitian=True)
    covariance = covariance / np.outer(size, size)
    solution = covariance @ (design.T @ values)
    return solution, covariance, float(((values - design @ solution) ** 2).sum())


def _mixed(branches: Sequence[_Branch], chance: FloatArray, likeliest: _Branch) -> ThresholdResult:
    """Take the branches that found a threshold together; the likeliest says all else."""
    result = likeliest.result
    if result.status != "found" or result.ci95 is None or result.threshold_uj_cm2 is None:
        return result
    rows = [
        (weight, *_sides(b)) for b, weight in zip(branches, chance, strict=True) if b.result.ci95 is not None
    ]
    weight, middle, down, up = np.array(rows).T
    weight /= weight.sum()
    grid = np.linspace((middle - 5 * down).min(), (middle + 5 * up).max(), 2001)
    off = grid[:, None] - middle
    # Two half normals that meet at the middle, each with half of the chance.
    below = scipy.special.ndtr(off / np.where(off < 0, down, up)) @ weight
    centre = float(weight @ middle)
    low, high = (float(np.interp(level, below, grid)) for level in (0.025, 0.975))
    low, high = min(low, centre), max(high, centre)
    was, (_, _, old_down, old_up) = result.ci95, (0.0, *_sides(replace(likeliest, variance=0.0)))
    ends = (float(np.exp(low)), float(np.exp(high)))
    arm = max(centre - low, high - centre, 0.0)
    added = np.sqrt(max(arm**2 - (K95 * max(old_down, old_up)) ** 2, 0.0))
    statistical = result.statistical_ci95
    if statistical is not None:
        moved = math.exp(centre) / result.threshold_uj_cm2
        statistical = (statistical[0] * moved, statistical[1] * moved)
        statistical = (max(statistical[0], ends[0]), min(statistical[1], ends[1]))
    reason = f"threshold {math.exp(centre):.4g} uJ/cm2 ({result.definition}), 95 % interval {ends[0]:.4g} to "
    reason = f"{reason}{ends[1]:.4g}"
    old = f"threshold {result.threshold_uj_cm2:.4g} uJ/cm2 ({result.definition}), 95 % interval {was[0]:.4g} "
    old = f"{old}to {was[1]:.4g}"
    return replace(
        result,
        threshold_uj_cm2=math.exp(centre),
        ci95=ends,
        statistical_ci95=statistical,
        systematic_rel=float(np.hypot(result.systematic_rel or 0.0, added)),
        reason=result.reason.replace(old, reason),
    )


def _sides(branch: _Branch) -> tuple[float, float, float]:
    """Middle and standard deviations to either side of a branch's ln threshold."""
    threshold, ends = branch.result.threshold_uj_cm2, branch.result.ci95
    assert threshold is not None
    assert ends is not None
    down, up = (abs(math.log(end / threshold)) / K95 for end in ends)
    more = branch.variance
    return math.log(threshold) + branch.shift, math.sqrt(down**2 + more), math.sqrt(up**2 + more)


def scaled_error(error: float, chi2: float, freedom: int) -> tuple[float, float]:
    """Return a standard error enlarged where residuals exceed the declared errors, and its freedom.

    :param error: from the declared errors alone; ``chi2`` of the residuals in units of those.
    :param freedom: of the residuals, 0 or more.
    """
    scale2 = (_TRUST + chi2) / (_TRUST + freedom)
    return error * math.sqrt(max(scale2, 1.0)), _TRUST + freedom


def chance_of(value: float, error: float, freedom: float) -> float:
    """Return the two-sided chance of a number as far from zero by luck alone."""
    return float(2 * scipy.special.stdtr(freedom, -abs(value) / error))
