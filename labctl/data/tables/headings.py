"""What a heading says: quantity and unit of a column, and what part the column can play in a curve."""

from __future__ import annotations

import re
import unicodedata
from collections.abc import Iterator
from dataclasses import dataclass
from typing import Literal

from labctl.data.tables.vocabulary import (
    AXIS_KINDS,
    BY_WORD,
    DARKS,
    ERRORS,
    INDICES,
    LINES,
    MINUS_DARK,
    NO_WIDTHS,
    OTHERS,
    PUMPED,
    PUMPS,
    REPEATS,
    SETS,
    SETTINGS,
    SIGNALS,
    STRONG_PUMP,
    SUBTRACTED,
    TIMES,
    WAVELENGTHS,
    WIDTHS,
)
from labctl.model.units import Unit, read_unit, spelled

Role = Literal[
    "pump", "signal", "either", "unknown", "error", "set point", "index", "width", "dark", "wavelength",
    "lines", "time", "setting", "repeats", "other",
]  # fmt: skip
Scale = Literal["", "log10", "ln", "log", "dB", "dBm"]
Convention = Literal["peak", "average", "average over 1/e2", "average over FWHM"]

QUANTITIES = {
    "fluence": "fluence",
    "energy": "pulse energy",
    "power": "power",
    "irradiance": "intensity",
    "current": "current",
    "current density": "current density",
    "voltage": "voltage",
    "photon fluence": "photon fluence",
    "carrier density": "carrier density",
    "percent": "relative pump",
    "dBm": "power",
}
"""The pump's quantity by the kind of its unit."""


@dataclass(frozen=True, slots=True)
class Heading:
    """One column, as its heading describes it.

    :ivar name: as the file has it, or "column 3".
    :ivar named: whether the file names it.
    :ivar words: its words without unit: lower case, without accents.
    :ivar unit: None where it states none.
    :ivar unreadable: what stands in a unit's place and is none; empty where nothing does.
    :ivar role: the part it can play.
    :ivar why: the same in words.
    :ivar strength: how sure the role is, 0 to 3.
    :ivar quantity: of a pump: "fluence", "pulse energy", "power" ...; empty where it is not said.
    :ivar scale: where logarithms stand in the column.
    :ivar convention: of a fluence, where it is said.
    """

    name: str
    named: bool = False
    words: str = ""
    unit: Unit | None = None
    unreadable: str = ""
    role: Role = "unknown"
    why: str = "no heading"
    strength: int = 0
    quantity: str = ""
    scale: Scale = ""
    convention: Convention | None = None


def heading(name: str, cell_unit: Unit | None = None) -> Heading:
    """Read one heading.

    :param name: as the file has it; empty where there is none.
    :param cell_unit: the unit that the column's cells carry.

    >>> h = heading("fluence_mJ_cm2")
    >>> h.role, h.unit.text, h.quantity
    ('pump', 'mJ/cm2', 'fluence')
    """
    text = " ".join(spelled(name).split())
    scale, text = _scale(text)
    rest, unit, unreadable = _unit(text)
    if cell_unit is not None and unit is None:
        unit, unreadable = cell_unit, ""
    if unit is not None and unit.kind in ("dB", "dBm"):
        scale = "dBm" if unit.kind == "dBm" else "dB"
    words = folded(rest)
    role, why, strength = _role(words, unit, name)
    return Heading(
        name=name,
        named=bool(name.strip()),
        words=words,
        unit=unit,
        unreadable=unreadable if role in ("pump", "either", "unknown", "set point") else "",
        role=role,
        why=why,
        strength=strength,
        quantity=_quantity(words, unit),
        scale=scale,
        convention=convention(name) if role in ("pump", "unknown", "set point") else None,
    )


def folded(text: str) -> str:
    """Return the words of a text: lower case, without accents, camel case and underscores apart."""
    text = re.sub(r"(?<=[a-z])(?=[A-Z][a-z])", " ", text)
    text = re.sub(r"[_\-.,;:/\\|]+", " ", text.replace("λ", " lambda ").replace("σ", " sigma "))
    text = re.sub(r"[Δδ∆]", " delta ", text)
    plain = unicodedata.normalize("NFKD", text.replace("ß", "ss"))
    plain = "".join(c for c in plain if not unicodedata.combining(c)).lower()
    return " ".join(re.sub(r"[^\w±#²+ ]", " ", plain).split())


def convention(text: str) -> Convention | None:
    """Return the convention of a fluence that a text states.

    >>> convention("average fluence over 1/e2 (mJ/cm2)"), convention("peak fluence"), convention("fluence")
    ('average over 1/e2', 'peak', None)
    """
    plain = spelled(text).lower()
    words = folded(text)
    if re.search(r"\b(?:peak|spitzen\w*|crete|on ?axis|maximum|f ?0)\b", words) and not re.search(
        r"peaks|peak (?:height|count|area|power|wave)", words
    ):
        return "peak"
    if re.search(r"1 ?/ ?\(?e\^?\(?2|1 ?/ ?e ?²|1e2\b|\b13\.5 ?%", plain):
        return "average over 1/e2"
    if "average" in words or re.search(r"\b(?:mean|avg|ave|mittlere?|moyenne?|flat ?top|top ?hat)\b", words):
        return "average over FWHM" if "fwhm" in words else "average"
    if re.search(r"(?:over|within|in|inside|of) (?:the )?fwhm|fwhm (?:area|spot)", words):
        return "average over FWHM"
    return None


# --- unit ------------------------------------------------------------------------------------------

_LOGS: tuple[tuple[str, Scale], ...] = (
    (r"(?i)^log_?\s?10\b\s*", "log10"),
    (r"(?i)^lg\b\s*", "log10"),
    (r"(?i)^log_?10(?=[a-z])_?", "log10"),
    (r"(?i)^ln\b\s*|^ln_", "ln"),
    (r"(?i)^log_?e\b\s*", "ln"),
    (r"(?i)^(?:natural log(?:arithm)?|nat log)(?: of)?\s*", "ln"),
    (r"(?i)^log(?:arithm)?(?: of)?\b\s*|^log_", "log"),
)


def _scale(text: str) -> tuple[Scale, str]:
    """Take a logarithm off a heading: "log10(F / (mJ/cm2))"."""
    for pattern, scale in _LOGS:
        match = re.match(pattern, text)
        if match is None:
            continue
        rest = text[match.end() :].strip()
        if rest.startswith("(") and rest.endswith(")") and _closes_at_end(rest):
            rest = rest[1:-1]
        return scale, rest
    found = re.search(r"(?i)[\s,(\[]+(log10|lg|ln|log)[)\]]?$", text)
    if found:
        return {"log10": "log10", "lg": "log10", "ln": "ln"}.get(found[1].lower(), "log"), text[
            : found.start()
        ]  # type: ignore[return-value]
    return "", text


def _closes_at_end(text: str) -> bool:
    depth = 0
    for at, c in enumerate(text):
        depth += (c == "(") - (c == ")")
        if depth == 0:
            return at == len(text) - 1
    return False


_BRACKETS = re.compile(r"[(\[<{]\s*((?:[^()\[\]<>{}]|\([^()]*\))*)\s*[)\]>}]")
_UNIT_LIKE = re.compile(
    r"(?:^|[^A-Za-z])[a-zA-Z?�]{0,2}[JjWw]\s?/|[/?�]\s?c?m|\bcm|[?�]|^[munpkfM]?[JWA]\b.*\d|[^\x00-\x7f]+\s?/"
)
_WHOLE_WORD = {"W", "A", "V", "J", "m", "s", "K", "h", "M", "S"}


def _unit(text: str) -> tuple[str, Unit | None, str]:
    """Return the heading without its unit, the unit, and what stands in its place and is none."""
    unreadable = ""
    for match in reversed(list(_BRACKETS.finditer(text))):
        unit = read_unit(match[1])
        if unit is not None:
            return f"{text[: match.start()]} {text[match.end() :]}", unit, ""
        if _UNIT_LIKE.search(match[1]):
            unreadable = match[1]
    for rest, tail, marked in _tails(" ".join(_BRACKETS.sub(" ", text).split())):
        unit = read_unit(tail)
        if unit is None or re.search(r"\d$", rest) or (unit.kind == "other" and not marked):
            continue
        if marked or _stands_alone(tail, unit, rest):
            return rest, unit, ""
    bare = re.sub(r"^[^,/]*?[,/]\s*", "", text)
    if not unreadable and bare != text and _UNIT_LIKE.search(bare):
        unreadable = bare
    elif not unreadable and not _BRACKETS.search(text) and re.search(r"[?�]\s?[JWA]|[JW]\s?/\s?\S", text):
        unreadable = text.split(maxsplit=1)[-1]
    return text, None, unreadable


def _tails(text: str) -> Iterator[tuple[str, str, bool]]:
    """Yield what may be a unit at the end of a heading, or at its begin, the longest first.

    :returns: the rest, the unit, and whether a mark stands between both.
    """
    plain = text.replace("_", " ")
    yield "", plain, False
    cuts = list(re.finditer(r"\s*[,/;:|]\s*|\s+in\s+|\s+en\s+|\s+|(?<=[a-z])-(?=[a-zA-Zu])", plain))
    for cut in cuts:
        before, after = plain[: cut.start()], plain[cut.end() :]
        if before.count("(") == before.count(")"):
            yield before, after, bool(cut.group().strip()) and cut.group().strip() != "-"
    for cut in reversed(cuts):
        yield plain[cut.end() :], plain[: cut.start()], False
    glued = re.search(r"(?<=[a-z])([munp]J ?/?(?:cm-?2)?|[munk]W|[mu]A)$", plain)
    if glued and len(plain[: glued.start()]) > 2:
        yield plain[: glued.start()], glued[1], False


def _stands_alone(tail: str, unit: Unit, rest: str) -> bool:
    """Whether a unit that no mark sets apart is one: a single letter may be a name ("sample A", "L")."""
    words = folded(rest)
    letters = tail.strip()
    if unit.kind in ("arbitrary", "counts"):
        return bool(words) or len(letters) > 2
    if len(letters) > 2 or unit.kind in ("fluence", "irradiance"):
        return unit.kind != "other"
    if letters in _WHOLE_WORD or len(letters) == 1:
        fits = {
            "W": r"power|leistung|puissance|\bp\b",
            "A": r"current|strom|courant|curr\b|\bi\b",
            "V": r"volt|spannung|tension|\bu\b|\bpd\b|photodiode|detector|signal",
            "J": r"energ|\be\b",
        }.get(letters)
        return bool(fits and re.search(fits, words))
    return bool(words) or letters not in ("PA", "MS", "AS", "mV")


# --- role ------------------------------------------------------------------------------------------


def _role(words: str, unit: Unit | None, name: str) -> tuple[Role, str, int]:
    """Return the part of a column, why, and how sure that is."""
    kind = "" if unit is None else unit.kind
    for found in (_excluded(words, kind, name), _by_unit(words, kind)):
        if found is not None:
            return found
    return _pump_or_signal(words, kind)


def _excluded(words: str, kind: str, name: str) -> tuple[Role, str, int] | None:
    """Return what is neither pump nor signal, by its words."""
    subtracted = re.search(SUBTRACTED, words) or re.search(MINUS_DARK, name.lower())
    tests: tuple[tuple[Role, str, object], ...] = (
        ("lines", "a number of lines", re.search(LINES, folded(name))),
        ("error", "an error", re.search(ERRORS, words) or re.search(r"[±]|\+/-", name)),
        ("set point", "a set point", re.search(SETS, words)),
        ("width", "a width", re.search(WIDTHS, words) and not re.search(NO_WIDTHS, words)),
        ("dark", "a dark or a background", re.search(DARKS, words) and not subtracted),
        ("wavelength", "a wavelength", kind in AXIS_KINDS and re.search(WAVELENGTHS, words)),
        ("index", "an index", not kind and name.strip() != "I" and re.search(INDICES, words)),
        ("repeats", "a number of repeats", re.search(REPEATS, words)),
    )
    for role, why, hit in tests:
        if hit:
            return role, why, 3
    return _beside(words, kind)


def _beside(words: str, kind: str) -> tuple[Role, str, int] | None:
    """Return a time, a setting or the like, unless stronger words stand beside it."""
    strong = re.search(STRONG_PUMP, words) or re.search(r"intensit|emission|\bpl\b|signal|integrat", words)
    if re.search(TIMES, words) and (not strong or kind == "time"):
        return "time", "a time", 2
    if strong:
        return None
    if re.search(OTHERS, words):
        return "other", "another quantity", 2
    return ("setting", "a setting", 2) if re.search(SETTINGS, words) else None


def _by_unit(words: str, kind: str) -> tuple[Role, str, int] | None:
    """Return what is neither pump nor signal, by its unit."""
    if kind in ("time", "frequency", "angle", "temperature"):
        if re.search(r"intensit|signal|counts?|zahlrate|\bpl\b|photon|detect", words):
            return None
        return ("time" if kind == "time" else "setting"), f"a {kind}", 2
    if kind in ("length", "wavenumber", "photon energy"):
        return "wavelength", f"a {kind}", 2
    return None


_PUMP_KINDS = {
    "fluence": 3,
    "photon fluence": 3,
    "irradiance": 3,
    "carrier density": 2,
    "energy": 2,
    "current density": 2,
}


def _pump_or_signal(words: str, kind: str) -> tuple[Role, str, int]:
    pumped = bool(re.search(STRONG_PUMP, words)) and not re.search(PUMPED, words)
    as_pump = 3 if pumped else 2 if re.search(PUMPS, words) else 0
    as_signal = 2 if re.search(SIGNALS, words) else 0
    if as_pump == 2 and as_signal and not pumped:
        as_signal = (
            3 if re.search(r"\bout|output|emission|\bpl\b|\base\b|lasing|detect|signal|photo", words) else 2
        )
    only_intensity = not re.sub(r"\b(?:laser|peak|light|intensit\w*|licht|density|max)\b", "", words).strip()
    if kind in _PUMP_KINDS and (
        as_signal < 2 or (only_intensity and kind in ("irradiance", "fluence", "photon fluence"))
    ):
        as_pump = max(as_pump, _PUMP_KINDS[kind])
        as_signal = 0 if only_intensity else as_signal
    if kind in ("counts",) and as_pump < 3:
        as_signal = max(as_signal, 3)
    if kind == "current" and not as_signal:
        as_pump = max(as_pump, 2)
    if as_pump > as_signal:
        return "pump", "a pump", as_pump
    if as_signal > as_pump:
        return "signal", "a signal", as_signal
    if (
        as_pump
        or kind in ("power", "voltage", "dBm", "percent", "arbitrary", "dB")
        or re.search(
            r"energ|power|leistung|puissance|strom|current|courant|spannung|volt|tension|curr\b|"
            r"\bp\b|\be\b",
            words,
        )
    ):
        return "either", "pump or signal", 1
    return "unknown", "not known", 0


def _quantity(words: str, unit: Unit | None) -> str:
    if unit is not None and unit.kind in QUANTITIES:
        return QUANTITIES[unit.kind]
    return next((quantity for pattern, quantity in BY_WORD if re.search(pattern, words)), "")
