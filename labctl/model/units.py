"""Units as people write them: "mJ/cm2", "µJ cm⁻²", "$\\mu$J/cm$^2$", "microjoules per square centimetre".

Text is brought to plain ASCII first, then read as a product of units with powers; pint converts. Nothing of a
stranger's text reaches pint before it is such a product: pint would carry out any sum it is given.
"""

from __future__ import annotations

import functools
import html
import re
import unicodedata
from collections.abc import Iterator, Mapping
from dataclasses import dataclass
from typing import Any

Dimensions = tuple[tuple[str, int], ...]

_KINDS: Mapping[Dimensions, str] = {
    (("J", 1), ("m", -2)): "fluence",
    (("J", 1),): "energy",
    (("W", 1),): "power",
    (("W", 1), ("m", -2)): "irradiance",
    (("A", 1),): "current",
    (("A", 1), ("m", -2)): "current density",
    (("V", 1),): "voltage",
    (("m", 1),): "length",
    (("m", -1),): "wavenumber",
    (("s", 1),): "time",
    (("Hz", 1),): "frequency",
    (("deg", 1),): "angle",
    (("K", 1),): "temperature",
    (("eV", 1),): "photon energy",
    (("photon", 1), ("m", -2)): "photon fluence",
    (("m", -3),): "carrier density",
    (("m", -2),): "area density",
    (("count", 1),): "counts",
    (("count", 1), ("s", -1)): "counts",
    (("photon", 1),): "counts",
    (("photon", 1), ("s", -1)): "counts",
    (("s", -1),): "counts",
}
KINDS: Mapping[Dimensions, str] = {tuple(sorted(powers)): kind for powers, kind in _KINDS.items()}
"""What a unit of these dimensions measures."""


@dataclass(frozen=True, slots=True)
class Unit:
    """A unit that was read.

    :ivar text: in plain ASCII, e.g. "uJ/cm2".
    :ivar kind: what it measures: one of :data:`KINDS`, "arbitrary", "percent", "dB", "dBm", or "other".
    :ivar doubt: why it can be read in two ways; empty where it cannot.
    """

    text: str
    kind: str
    doubt: str = ""


def factor(unit: str, target: str) -> float | None:
    """Return how many of ``target`` a unit is; None if it is unknown or of another kind.

    :param unit: as :func:`spelled` returns it, or as :attr:`Unit.text`.

    >>> factor("mJ/cm2", "uJ/cm2")
    1000.0
    """
    return _factor(unit, target)


_POWERS = {"": 0, "f": -15, "p": -12, "n": -9, "u": -6, "m": -3, "c": -2, "k": 3, "M": 6, "G": 9}


def _plain(unit: str) -> tuple[str, int] | None:
    """Return base and power of ten of the units that nearly everything is written in; None for others."""
    above, slash, below = unit.partition("/")
    area = {"cm2": 4, "mm2": 6, "um2": 12, "m2": 0}.get(below)
    for base in ("J", "W", "Hz", "A", "m", "s"):
        if above.endswith(base) and above.removesuffix(base) in _POWERS and (area is not None or not slash):
            return base + ("/m2" if slash else ""), _POWERS[above.removesuffix(base)] + (area or 0)
    return None


@functools.cache
def _factor(unit: str, target: str) -> float | None:
    if (one := _plain(unit)) and (other := _plain(target)):
        return float(f"1e{one[1] - other[1]}") if one[0] == other[0] else None
    import pint  # comes with pymeasure; import and registry take half a second

    registry: Any = pint.get_application_registry()  # type: ignore[no-untyped-call]
    try:
        first, second = (
            registry.parse_units(re.sub(r"(?<=[A-Za-z])(-?\d)", r"^\1", name)) for name in (unit, target)
        )
        return float(f"{registry.Quantity(1.0, first).to(second).magnitude:.15g}")
    except Exception:  # noqa: BLE001  pint has no one class for what it cannot read
        return None


# --- spelling --------------------------------------------------------------------------------------

_TAGS = re.compile(r"<\s*/?\s*(?:sup|sub|b|i|em|strong|span|math|mi|mo|mn|msup|mrow)\b[^>]*>", re.I)
_LATEX = (
    (r"\\d?frac\s*\{([^{}]*)\}\s*\{([^{}]*(?:\{[^{}]*\}[^{}]*)*)\}", r"\1/(\2)"),
    (
        r"\\(?:mathrm|mathit|mathsf|mathbf|text|textrm|textit|textbf|rm|it|bf|si|SI|unit|qty|mbox|"
        r"operatorname)\b", " "),
    (r"\\(?:textmu|micro|upmu|mu)\b\s*", "u"),
    (r"\\(milli|nano|pico|femto|kilo|mega|giga|centi)\b\s*", r"\1"),
    (r"\\(?:cdot|times|ast|,|;|:|!|quad|space)\s*", " "),
    (r"\\per\b\s*", "/"),
    (r"\\(?:squared|tothe\{2\})", "2"),
    (r"\\square\b\s*", "square "),
    (r"\\(?:circ|degree|textdegree)\b", "deg"),
    (r"\\%", "%"),
    (r"\\(?:left|right)\b", ""),
    (r"\\_", "_"),
    (r"\\([A-Za-z]+)", r"\1"),
    (r"[${}]", ""),
    (r"~", " "),
)  # fmt: skip
_CHARACTERS = str.maketrans(
    {
        **dict.fromkeys("−–—‐‑‒﹣－", "-"),
        **dict.fromkeys("·⋅∙×✕*•⸱", " "),
        **dict.fromkeys("\u00a0\u2009\u202f\u2007\u2002\u2003\u200a", " "),
        **dict.fromkeys("\u200b\u200c\u200d\u2060\ufeff\u00ad\u2062\u2063", ""),
        **dict.fromkeys("∕⁄", "/"),
        "°": "deg",
        "ℓ": "l",
    }
)
_SUPERSCRIPTS = str.maketrans("⁰¹²³⁴⁵⁶⁷⁸⁹⁺⁻", "0123456789+-")
_WORDS = (
    (r"(?i)zentimeter", "centimeter"),
    (r"(?i)\b(?:per|pro|par|je)\b", "/"),
    (r"(?i)\b(?:square|sq\.?|quadrat)\s*-?\s*(centi|milli|micro|mikro)?(?:met(?:er|re)s?|m)\b", r"\1meter2"),
    (r"(?i)\b(?:square|sq\.?)\s*([cmuµ]m)\b", r"\g<1>2"),
    (r"(?i)(centi|milli|micro|mikro)?-?m[eè]t(?:er|re)s?\s*(?:squared|carr[ée]s?|2)", r"\1meter2"),
    (r"(?i)\b([cmu]?m)\s*(?:squared|carr[ée]s?)", r"\g<1>2"),
    (r"(?i)\bcentimet(?:er|re)s?", "cm"),
    (r"(?i)\bmillimet(?:er|re)s?", "mm"),
    (r"(?i)\b(?:micro|mikro)met(?:er|re)s?|\bmicrons?\b", "um"),
    (r"(?i)\bnanomet(?:er|re)s?", "nm"),
    (r"(?i)(?<=/)\s*met(?:er|re)s?\b|(?<=/)\s*meter(?=2)", "m"),
    (
        r"(?i)(?<![a-z])(?:micro|mikro|mcr)\s*-?\s*(?=(?:joules?|watts?|amp[eè]res?|amps?|volts?|"
        r"[jwav])(?![a-z]))", "u"),
    (r"(?i)(?<![a-z])milli\s*-?\s*(?=(?:joules?|watts?|amp[eè]res?|amps?|volts?|[jwav])(?![a-z]))", "m"),
    (r"(?i)(?<![a-z])nano\s*-?\s*(?=(?:joules?|watts?|amp[eè]res?|amps?|volts?|[jwav])(?![a-z]))", "n"),
    (r"(?i)(?<![a-z])pico\s*-?\s*(?=(?:joules?|watts?|amp[eè]res?|amps?|volts?|[jwav])(?![a-z]))", "p"),
    (r"(?i)(?<![a-z])femto\s*-?\s*(?=(?:joules?|watts?|[jw])(?![a-z]))", "f"),
    (r"(?i)(?<![a-z])kilo\s*-?\s*(?=(?:joules?|watts?|amp[eè]res?|amps?|volts?|[jwav])(?![a-z]))", "k"),
    (r"(?i)(?<![a-z])mega\s*-?\s*(?=(?:joules?|watts?|amp[eè]res?|amps?|volts?|[jwav])(?![a-z]))", "M"),
    (r"(?i)(?<![a-z])giga\s*-?\s*(?=(?:joules?|watts?|[jw])(?![a-z]))", "G"),
    (r"(?<![A-Za-z])(?:mc|mu|Mu|MU|mic)\s?(?=[JWA](?![a-z]))", "u"),
    (r"мк(?=Дж|Вт)", "u"),
    (r"м(?=Дж|Вт)", "m"),
    (r"н(?=Дж|Вт)", "n"),
    (r"Дж", "J"),
    (r"Вт", "W"),
    (r"см", "cm"),
    (r"(?i)(?<=[munpfkMG])joules?\b|\bjoules?\b", "J"),
    (r"(?i)(?<=[munpfkMG])watts?\b|\bwatts?\b", "W"),
    (r"(?i)(?<=[munpfkMG])(?:amp[eè]res?|amps?)\b|\bamp[eè]res?\b|\bamps?\b", "A"),
    (r"(?i)(?<=[munpfkMG])volts?\b|\bvolts?\b", "V"),
    (r"(?i)\bseconds?\b|\bsekunden?\b|\bsecondes?\b|\bsec\b", "s"),
    (r"(?i)\bdegrees?\b|\bgrad\b", "deg"),
    (r"(?i)\bpercent\b|\bper cent\b|\bprozent\b", "%"),
)  # fmt: skip


@functools.cache
def spelled(text: str) -> str:
    """Return a text in plain ASCII spelling, its units written short: "uJ/cm2", "mJ cm-2".

    Superscripts, unicode minus and micro signs, HTML, LaTeX, broken encodings and unit words are replaced.

    >>> spelled("mJ cm⁻²"), spelled("$\\\\mu$J/cm$^{2}$"), spelled("microjoules per square centimetre")
    ('mJ cm-2', 'uJ/cm2', 'uJ/cm2')
    """
    text = _mended(html.unescape(text))
    text = _TAGS.sub("", text)
    if "\\" in text or "$" in text or "{" in text:
        for pattern, by in _LATEX:
            text = re.sub(pattern, by, text)
    text = text.translate(_SUPERSCRIPTS)
    text = re.sub(r"\s*(?:\*\*|\^)\s*(?:\(\s*([+\-−]?\d)\s*\)|([+\-−]?\d))", r"\1\2", text)
    text = text.translate(_CHARACTERS)
    text = unicodedata.normalize("NFKC", text)
    text = re.sub(r"[μµ] ?", "u", text)
    for pattern, by in _WORDS:
        text = re.sub(pattern, by, text)
    text = re.sub(r"(?<=m)\s+(?=-?[123](?!\d))", "", text)
    return re.sub(r"\s*/\s*(?=[a-zA-Z(])", "/", re.sub(r"\s+", " ", text)).strip()


def _mended(text: str) -> str:
    """Undo UTF-8 that was read as Latin-1, and the micro and square signs of DOS."""
    if re.search("[ÂÃâÎ][\x80-\xbf†‡•‰šœž€ˆ˜™]", text):
        for encoding in ("cp1252", "latin-1"):
            try:
                text = text.encode(encoding).decode("utf-8")
                break
            except UnicodeError:
                continue
    text = re.sub("Â(?=[µ²³°·])", "", text)
    return re.sub("æ(?=[JWAV])", "u", text).replace("cmý", "cm2")


# --- reading ---------------------------------------------------------------------------------------

_NAMED = {
    r"a\.?\s?u\.?|arb\.?(?:\s?units?\.?|\s?u\.?)?|arbitrary(?: units?)?|rel\.?\s?units?|"
    r"w\.?\s?e\.?|u\.\s?a\.?"
    r"|unites? arb(?:\.|itraires?)?|willk\.? ?einh\.?|norm\.?|normali[sz]ed|normiert|normalise": "arbitrary",
    r"%": "percent",
    r"dbm": "dBm",
    r"db": "dB",
    r"cps|kcps|mcps": "counts",
}  # fmt: skip
_PREFIX = "fpnumcdkMGT"
_BASES = {
    "J": "J", "j": "J", "W": "W", "w": "W", "A": "A", "V": "V", "m": "m", "s": "s", "Hz": "Hz", "hz": "Hz",
    "HZ": "Hz", "eV": "eV", "ev": "eV", "EV": "eV", "K": "K", "deg": "deg", "degC": "K", "rad": "deg",
    "min": "s", "h": "s", "M": "m", "S": "s", "a": "A", "v": "V", "erg": "erg",
}  # fmt: skip
_PLAIN_ONLY = {"deg", "degC", "rad", "min", "h", "K", "erg"}
_COUNTS = re.compile(r"(?i)(?:counts?|cts?|cnts?|coups?|z[aä]hlimpulse|impulse|imp|adu|electrons?)")
_PHOTONS = re.compile(r"(?i)(?:photons?|ph|phot|photonen)")
_EACH = re.compile(
    r"(?i)(?:laser)?(?:pulses?|shots?|puls|pulse|impulsions?|sch(?:uss|uß)|exposures?|frames?)"
)
_TOKEN = re.compile(r"\s*(?:([A-Za-z][A-Za-z]*)\s?([+-]?\d)?|([/().*])|(%))")
LONGEST = 60


@functools.cache
def read_unit(text: str) -> Unit | None:
    """Read a unit that stands alone; None if it is none.

    >>> read_unit("mJ cm-2"), read_unit("nJ/pulse"), read_unit("sample 3")
    (Unit(text='mJ/cm2', kind='fluence', doubt=''), Unit(text='nJ', kind='energy', doubt=''), None)
    """
    plain = spelled(text).strip(" ,;:").replace("_", " ").removeprefix("1/")
    over = spelled(text).strip(" ,;:").startswith("1/")
    plain = re.sub(r"(?<=[A-Za-z])-(?=[A-Za-z])", " ", plain)
    if not plain or len(plain) > LONGEST or plain.endswith("/"):
        return None
    for pattern, kind in _NAMED.items():
        if re.fullmatch(pattern, plain, re.I):
            return Unit(
                {"percent": "%", "arbitrary": "a.u.", "dBm": "dBm", "dB": "dB"}.get(kind, plain), kind
            )
    try:
        parts = list(_factors(f"/{plain}" if over else plain))
    except ValueError:
        return None
    return _unit_of(parts, plain) if parts else None


@dataclass(frozen=True, slots=True)
class _Factor:
    prefix: str
    base: str
    symbol: str
    power: int
    slashed: bool


def _factors(text: str) -> Iterator[_Factor]:
    """Read "uJ/cm2", "uJ cm-2", "uJ/(cm2 pulse)" one factor after the other.

    :raises ValueError: it is something else.
    """
    at, sign, inside = 0, 1, 0
    while at < len(text):
        token = _TOKEN.match(text, at)
        if token is None:
            raise ValueError(text)
        at = token.end()
        word, power, mark, percent = token.groups()
        if percent:
            raise ValueError(text)
        if mark:
            sign, inside = _after(mark, sign, inside)
            continue
        if power == "1" and sign > 0:  # "V1" is a name
            raise ValueError(text)
        if not _EACH.fullmatch(word):
            yield from _one(word, sign * int(power or 1), sign < 0)
        sign = sign if inside else 1


def _after(mark: str, sign: int, inside: int) -> tuple[int, int]:
    if mark == "/":
        return -1, inside
    if mark == "(":
        return sign, inside + 1
    if mark == ")":
        return 1, max(inside - 1, 0)
    return sign, inside


def _one(word: str, power: int, slashed: bool) -> Iterator[_Factor]:
    """Read one word: a base with or without a prefix, or an energy and an area run together ("mJcm2")."""
    if _COUNTS.fullmatch(word):
        yield _Factor("", "count", "counts", power, slashed)
        return
    if _PHOTONS.fullmatch(word):
        yield _Factor("", "photon", "photons", power, slashed)
        return
    found = _based(word)
    if found is not None:
        yield _Factor(found[0], _BASES[found[1]], _shown(*found), power, slashed)
        return
    joined = re.fullmatch(r"([fpnumkMG]?[JjWA])([cmuCM]?[mM])", word)
    if joined is None:
        raise ValueError(word)
    yield from _one(joined[1], 1, slashed)
    yield from _one(joined[2], -abs(power), slashed=True)


def _based(word: str) -> tuple[str, str] | None:
    if word in _BASES and word not in ("M", "S", "a", "v"):
        return "", word
    prefix, base = word[0], word[1:]
    if (prefix == "T" and base not in ("J", "W", "Hz")) or (base == "M" and prefix not in "CNUM"):
        return None
    if prefix in "cdC" and base not in ("m", "M"):
        return None
    if prefix in _PREFIX + "UNC" and base in _BASES and base not in _PLAIN_ONLY:
        return prefix, base
    return None


def _shown(prefix: str, base: str) -> str:
    lower = {"U": "u", "N": "n", "C": "c"}.get(prefix, prefix)
    if base in ("M", "m") and prefix == "M":
        lower = "m"
    symbol = {"erg": "erg", "min": "min", "h": "h", "rad": "rad", "degC": "degC"}.get(base, _BASES[base])
    return lower + symbol


def _unit_of(parts: list[_Factor], plain: str) -> Unit:
    parts = _denominated(parts)
    powers: dict[str, int] = {}
    for part in parts:
        base = "J" if part.base == "erg" else part.base
        powers[base] = powers.get(base, 0) + part.power
    powers = {base: power for base, power in powers.items() if power}
    if powers.get("J") == 1 and powers.get("s") == -1:  # a joule per second
        powers = {"W": 1, **{b: p for b, p in powers.items() if b not in ("J", "s")}}
    kind = KINDS.get(tuple(sorted(powers.items())), "other")
    above = " ".join(_powered(p) for p in parts if p.power > 0)
    below = "/".join(_powered(p) for p in parts if p.power < 0)
    text = f"{above or '1'}/{below}" if below else above
    return Unit(text, kind, _doubt(parts, plain, kind))


def _powered(part: _Factor) -> str:
    return part.symbol + (str(abs(part.power)) if abs(part.power) != 1 else "")


def _denominated(parts: list[_Factor]) -> list[_Factor]:
    """An energy times an area is not meant: "mJ cm2" is mJ/cm2."""
    first = parts[0].base if parts else ""
    if first not in ("J", "W", "A", "photon", "erg") or any(p.power < 0 for p in parts):
        return parts
    return [
        p if p.base != "m" or p.power != 2 else _Factor(p.prefix, p.base, p.symbol, -2, slashed=True)
        for p in parts
    ]


def _doubt(parts: list[_Factor], plain: str, kind: str) -> str:
    """Capitals hide whether M is mega or milli, and P peta or pico."""
    first = parts[0]
    letters = [c for c in plain if c.isalpha()]
    shouted = len(letters) > 2 and all(c.isupper() for c in letters)
    mega = first.prefix == "M" and kind in ("fluence", "energy", "current")
    if first.base in ("J", "W", "A", "V") and (mega or (first.prefix == "M" and shouted)):
        return f"{first.symbol} is mega, and may be meant as milli (m{first.base})"
    return ""
