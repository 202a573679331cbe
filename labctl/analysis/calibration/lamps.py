"""Emission lines of calibration lamps, in standard air, and which of them an instrument can tell apart.

Wavelengths: NIST Atomic Spectra Database (Kramida, Ralchenko, Reader and NIST ASD Team), air values, rounded
to 0.0001 nm; those of mercury agree with Sansonetti, Salit and Reader, Applied Optics 35, 74 (1996).
Air is air at 15 degC and 101325 Pa; at 25 degC lines move by less than 0.006 nm, all to the red.
"""

from __future__ import annotations

from collections.abc import Iterable
from typing import NamedTuple

from labctl.model.errors import CalibrationRefused

TABLE_SIGMA_NM = 0.001
"""Standard error that the tables' own values and a room's air leave in a line."""

BLEND_SHARE = 0.01
"""A neighbour that may pull a line by more than this share of the resolution makes it a blend."""

_APART = 2.0  # resolutions: neighbours further away than this leave a line's width alone
_FITTED_APART = 1.3  # resolutions: neighbours further away than this are fitted beside it,
_FITTED_DECADE = 0.6  # and so much further for each decade by which they are stronger


class LampLine(NamedTuple):
    """A line in air. ``strength`` is a decade: 4 dominates the lamp, 1 needs a long exposure."""

    wavelength_nm: float
    strength: int


_MERCURY = (
    (253.6521, 4), (296.7283, 3), (302.1504, 2), (312.5674, 3), (313.1555, 3), (313.1844, 3), (334.1484, 2),
    (365.0158, 4), (365.4842, 3), (366.2887, 2), (366.3284, 3), (404.6565, 4), (407.7837, 2), (433.9223, 1),
    (434.7506, 1), (435.8335, 4), (491.6068, 1), (546.0750, 4), (576.9610, 3), (579.0670, 3),
)  # fmt: skip
_ARGON = (
    (415.8590, 1), (418.1884, 1), (419.0713, 1), (419.1029, 1), (419.8317, 1), (420.0674, 1), (425.9362, 1),
    (426.6286, 1), (427.2169, 1), (430.0101, 1), (433.3561, 1), (451.0733, 1), (516.2285, 1), (518.7746, 1),
    (542.1352, 1), (545.1652, 1), (549.5874, 1), (550.6113, 1), (555.8702, 1), (557.2541, 1), (560.6733, 1),
    (565.0704, 1), (573.9520, 1), (588.8584, 1), (591.2085, 1), (592.8813, 1), (603.2127, 2), (604.3223, 1),
    (605.9373, 1), (611.4923, 1), (617.2278, 1), (629.6872, 1), (636.9575, 1), (638.4717, 1), (641.6307, 2),
    (667.7282, 2), (675.2834, 2), (687.1289, 2), (693.7664, 2), (696.5431, 4), (703.0251, 2), (706.7218, 3),
    (706.8736, 2), (710.7478, 2), (712.5820, 1), (714.7042, 2), (720.6980, 1), (727.2936, 3), (731.1716, 1),
    (731.6005, 1), (735.3293, 2), (737.2118, 2), (738.3980, 3), (743.5368, 1), (750.3869, 4), (751.4652, 3),
    (763.5106, 4), (772.3761, 3), (772.4207, 3), (789.1075, 1), (794.8176, 3), (800.6157, 3), (801.4786, 3),
    (810.3693, 3), (811.5311, 4), (826.4522, 3), (840.8210, 3), (842.4648, 4), (852.1442, 3), (860.5776, 1),
    (866.7944, 2), (912.2967, 4), (919.4638, 2), (922.4499, 3), (935.4220, 2), (965.7786, 3), (978.4503, 2),
)  # fmt: skip
_NEON = (
    (503.1350, 1), (503.7751, 1), (508.0385, 1), (511.6503, 1), (512.2257, 1), (514.4938, 1), (515.1961, 1),
    (518.8612, 1), (519.3130, 1), (520.3896, 1), (520.8865, 1), (522.2352, 1), (523.4027, 1), (529.8189, 1),
    (530.4758, 1), (532.6397, 1), (533.0778, 3), (534.1094, 3), (534.3283, 2), (534.9204, 1), (536.0012, 1),
    (540.0562, 4), (541.2649, 1), (541.8558, 1), (543.3651, 1), (544.8509, 1), (549.4416, 1), (553.3679, 1),
    (556.2766, 1),
    (565.6659, 2), (571.9225, 2), (574.8299, 2), (576.4419, 3), (580.4450, 2), (582.0156, 2), (585.2488, 4),
    (587.2828, 2), (588.1895, 3), (590.2462, 2), (590.6429, 2), (594.4834, 3), (596.5471, 2), (597.4627, 2),
    (597.5534, 2), (598.7907, 2), (602.9997, 3), (607.4338, 3), (609.6163, 3), (612.8450, 2), (614.3063, 4),
    (616.3594, 3), (618.2146, 2), (621.7281, 3), (626.6495, 3), (630.4789, 3), (633.4428, 4), (638.2992, 4),
    (640.2248, 4), (650.6528, 4), (653.2882, 3), (659.8953, 3), (667.8277, 3), (671.7043, 3), (692.9467, 4),
    (702.4050, 2), (703.2413, 4), (717.3938, 3), (724.5167, 4), (743.8899, 3), (747.2439, 1), (748.8871, 2),
    (753.5774, 2), (754.4044, 2), (794.3181, 2), (808.2458, 2), (813.6406, 2), (830.0326, 3), (837.7608, 4),
    (849.5360, 3), (854.4696, 2), (859.1259, 3), (863.4647, 3), (865.4383, 3), (865.5522, 2), (867.9493, 2),
    (868.1921, 2), (870.4112, 2), (878.0621, 3), (878.3753, 3), (885.3867, 3), (891.9501, 2), (914.8672, 2),
    (920.1759, 2), (930.0853, 2), (932.6507, 2), (942.5379, 2), (948.6682, 2), (953.4163, 2), (966.5424, 2),
)  # fmt: skip
_KRYPTON = (
    (427.3969, 2), (431.9579, 2), (436.2641, 2), (437.6121, 2), (445.3917, 2), (446.3690, 2), (450.2354, 2),
    (556.2225, 2), (557.0289, 3), (587.0916, 3), (599.3850, 1), (605.6126, 1), (642.1027, 1), (645.6289, 2),
    (722.4104, 1), (758.7413, 3), (760.1544, 4), (768.5246, 3), (769.4539, 3), (785.4822, 3), (791.3424, 2),
    (805.9504, 3), (810.4365, 4), (811.2901, 4), (819.0055, 3), (826.3241, 3), (828.1051, 2), (829.8110, 3),
    (850.8871, 3), (877.6750, 3), (892.8692, 3), (975.1759, 3),
)  # fmt: skip

_TABLES: dict[str, tuple[tuple[tuple[float, int], ...], ...]] = {
    "hg-ar": (_MERCURY, _ARGON),
    "ne": (_NEON,),
    "kr": (_KRYPTON,),
}
LAMPS: tuple[str, ...] = tuple(_TABLES)
"""Names of the lamps that are known."""


def lamp_lines(lamp: str) -> tuple[LampLine, ...]:
    """Return a lamp's lines, rising.

    :param lamp: "hg-ar", "ne" or "kr", in any case.
    :raises CalibrationRefused: there is no table for it.
    """
    tables = _TABLES.get(lamp.lower())
    if tables is None:
        raise CalibrationRefused(f"no table of lines for the lamp {lamp!r}", f"one of {', '.join(LAMPS)}")
    return tuple(sorted(LampLine(nm, strength) for table in tables for nm, strength in table))


def pull_nm(line: LampLine, lines: Iterable[LampLine], resolution_nm: float) -> float:
    """Return how far neighbours that cannot be told apart may pull a line's centre, nm.

    A neighbour far enough away to be fitted beside it pulls not at all. Strengths are decades, so each is
    taken to be half a decade stronger than the table says.
    """
    total = 0.0
    for other in lines:
        away = abs(other.wavelength_nm - line.wavelength_nm)
        apart = _FITTED_APART + _FITTED_DECADE * max(other.strength - line.strength, 0)
        if 0 < away < apart * resolution_nm:
            ratio = min(10.0 ** (other.strength - line.strength + 0.5), 1e3)
            total += away * ratio / (1.0 + ratio)
    return total


def resolved_lines(lines: Iterable[LampLine], resolution_nm: float) -> tuple[LampLine, ...]:
    """Return those lines whose centre an instrument of this resolution sees where the table has it.

    :param resolution_nm: FWHM of the slit function, > 0.

    >>> yellow = [LampLine(576.961, 3), LampLine(579.067, 3)]
    >>> len(resolved_lines(yellow, 1.3)), len(resolved_lines(yellow, 5.0))
    (2, 0)
    """
    every = tuple(lines)
    return tuple(x for x in every if pull_nm(x, every, resolution_nm) <= BLEND_SHARE * resolution_nm)


def isolated_lines(lines: Iterable[LampLine], resolution_nm: float) -> tuple[LampLine, ...]:
    """Return those lines that no neighbour broadens: what the resolution may be taken from.

    A line that may be a tenth of this one or more keeps a distance of two resolutions.
    """
    every = tuple(lines)
    return tuple(
        line
        for line in resolved_lines(every, resolution_nm)
        if not any(
            0 < abs(other.wavelength_nm - line.wavelength_nm) < _APART * resolution_nm
            and other.strength >= line.strength - 1
            for other in every
        )
    )
