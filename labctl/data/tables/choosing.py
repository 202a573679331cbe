"""Which column is the pump, which the signal, which their errors: by name, as asked, or a question."""

from __future__ import annotations

import re
from collections.abc import Callable, Sequence
from dataclasses import dataclass, field, replace
from pathlib import Path

import numpy as np

from labctl.data.tables.errors import TableUnclear
from labctl.data.tables.headings import Heading, folded
from labctl.data.tables.numbers import Numbers
from labctl.model.errors import DataError
from labctl.model.records import FloatArray
from labctl.model.units import spelled

MODIFIERS = {
    "x": ("log10", "ln", "linear"),
    "y": ("log10", "ln", "linear", "db"),
    "sigma": ("percent", "absolute", "fraction", "sd", "se"),
}
"""What may follow a column's name behind a colon, by option."""
NONE = "none"
_OWN = ("Fluence (uJ/cm^2)", "Signal (counts per pulse)")
_RANK = (
    "fluence",
    "photon fluence",
    "intensity",
    "carrier density",
    "pulse energy",
    "power",
    "current density",
    "current",
)
_PROPORTIONAL = 0.02
_COUNTING_ROWS = 5


@dataclass(frozen=True, slots=True)
class Asked:
    """What the user says of a table; None where nothing is said.

    :param x: column of the pump: its name, a part of it, or its number from 1; behind a colon "log10", "ln".
    :param y: column of the signal, likewise; "dB" too.
    :param sigma: column of the signal's error, likewise; behind a colon "percent", "absolute", "fraction",
        "sd" or "se"; "none" for no column.
    :param unit: of the pump, e.g. "mJ/cm2"; behind a comma the convention, e.g. "peak".
    """

    x: str | None = None
    y: str | None = None
    sigma: str | None = None
    unit: str | None = None


NOTHING_ASKED = Asked()


@dataclass(frozen=True, slots=True)
class Chosen:
    """The columns that were taken, by place; those that were not, each with why.

    :param x: the pump; ``y`` the signal.
    :param sigma: errors of the signal: none, one, or one for each side.
    :param x_sigma: error of the pump.
    :param width: FWHM; ``lines`` number of lines; ``repeats`` number of repeats.
    :param modifiers: what was said behind the colon, by option.
    :param others: columns that are not used, in words.
    :param why: why x and y were taken.
    """

    x: int
    y: int
    sigma: tuple[int, ...] = ()
    x_sigma: int | None = None
    width: int | None = None
    lines: int | None = None
    repeats: int | None = None
    modifiers: dict[str, str] = field(default_factory=dict)
    others: tuple[str, ...] = ()
    why: tuple[str, str] = ("", "")


def choose(
    path: Path, headings: Sequence[Heading], columns: Sequence[Numbers | None], asked: Asked = NOTHING_ASKED
) -> Chosen:
    """Choose the columns of a light-light curve.

    :param headings: of every column; ``columns`` their numbers, None for text.
    :raises TableUnclear: two readings are possible.
    :raises DataError: a column that was asked for is not there, or there is no pump or signal.
    """
    chooser = _Chooser(path, headings, columns)
    return chooser.choose(asked)


class _Chooser:
    def __init__(self, path: Path, headings: Sequence[Heading], columns: Sequence[Numbers | None]) -> None:
        self.path = path
        self.columns = columns
        self.headings = list(headings)
        self.numeric = [at for at, column in enumerate(columns) if column is not None]
        errors = any(h.role == "error" for h in headings)
        for at in self.numeric:
            if errors and at > 0 and re.fullmatch(r"[nN]", headings[at].name):
                self.headings[at] = replace(headings[at], role="repeats", why="a number of repeats")
            elif self._is_counter(at):
                self.headings[at] = replace(headings[at], role="index", why="a count of the rows")

    def choose(self, asked: Asked) -> Chosen:
        modifiers: dict[str, str] = {}
        x = self._named("x", asked.x, modifiers)
        y = self._named("y", asked.y, modifiers)
        sigma = None if asked.sigma in (None, NONE) else self._named("sigma", asked.sigma, modifiers)
        if x is not None and x == y:
            raise DataError(f"{self.path}: --x and --y name the same column, {self._name(x)!r}")
        if len(self.numeric) < 2:
            raise DataError(
                f"{self.path}: {self._listed()}", "a table needs a column of pump and one of signal"
            )
        names = [h.name for h in self.headings]
        if x is None and y is None and all(name in names for name in _OWN):
            x, y = (names.index(name) for name in _OWN)
        why_x = "as --x says" if asked.x is not None else ""
        why_y = "as --y says" if asked.y is not None else ""
        if x is None:
            x, why_x = self._pump(y)
        if y is None:
            y, why_y = self._signal(x)
        self._doubt_order(x, y, asked)
        errors = self._errors(x, y, asked, sigma)
        rest = [at for at in self.numeric if at not in (x, y)]
        width = self._role(rest, "width", lambda h: "fwhm" in h.words or "line" in h.words)
        found = Chosen(
            x=x,
            y=y,
            sigma=errors[0],
            x_sigma=errors[1],
            width=width,
            lines=self._role(rest, "lines"),
            repeats=self._role(rest, "repeats"),
            modifiers=modifiers,
            why=(why_x, why_y),
        )
        return _with_others(found, self.headings, self.columns)

    # --- by name -----------------------------------------------------------------------------------

    def _named(self, option: str, text: str | None, modifiers: dict[str, str]) -> int | None:
        """Return the column that an option names.

        :raises DataError: none, or several.
        """
        if text is None:
            return None
        head, colon, tail = text.rpartition(":")
        exact = any(h.name == text.strip() for h in self.headings)
        found = self._matching(text)
        if not exact and colon and tail.strip().lower() in MODIFIERS[option]:
            modifiers[option] = tail.strip().lower()
            found = self._matching(head)
        if len(found) == 1 and self.columns[found[0]] is None:
            raise DataError(f"{self.path}: --{option}: column {self._name(found[0])!r} holds text")
        if len(found) != 1:
            said = "no column is named so" if not found else f"{len(found)} columns are named so"
            raise DataError(
                f"{self.path}: --{option} {text!r}: {said}; the columns are {self._listing()}",
                f"a name in full, or a number from 1 to {len(self.headings)}",
            )
        return found[0]

    def _matching(self, text: str) -> list[int]:
        wanted = text.strip()
        names = [h.name for h in self.headings]
        tests: tuple[Callable[[int], bool], ...] = (
            lambda at: names[at] == wanted,
            lambda at: wanted == str(at + 1),
            lambda at: _plain(names[at]) == _plain(wanted),
            lambda at: bool(self.headings[at].words) and self.headings[at].words == folded(spelled(wanted)),
            lambda at: bool(_plain(wanted)) and _plain(wanted) in _plain(names[at]),
        )
        for test in tests:
            found = [at for at in range(len(names)) if test(at)]
            if found:
                return found
        return []

    # --- pump --------------------------------------------------------------------------------------

    def _of(self, *roles: str, without: int | None = None) -> list[int]:
        return [at for at in self.numeric if self.headings[at].role in roles and at != without]

    def _pump(self, y: int | None) -> tuple[int, str]:
        pumps, either, unknown = (self._of(role, without=y) for role in ("pump", "either", "unknown"))
        if pumps:
            return self._one_pump(pumps, either)
        signals = [y] if y is not None else self._of("signal")
        if not signals and len(either) + len(unknown) == 2:
            first, second = sorted(either + unknown)
            return self._first_of_two(first, second)
        if not signals and len(either) == 1 and unknown:
            return either[0], f"{self.headings[either[0]].quantity or 'a pump'} by its name or unit"
        candidates = either or unknown or self._of("set point", without=y)
        if len(candidates) == 1:
            only = self.headings[candidates[0]]
            if only.role == "set point":
                return candidates[0], "a set point: no measured pump is there"
            return candidates[0], "the only column beside the signal that can be a pump"
        if candidates:
            raise self._unclear("x", "the pump", candidates)
        if y is None and len(signals) == 2 == len(self.numeric) - len(self._of("error")):
            raise self._unclear("x", "the pump", signals)
        raise TableUnclear(
            self.path, f"no column is a pump: {self._listed()}", "x", self._names(self.numeric)
        )

    def _one_pump(self, pumps: list[int], either: list[int]) -> tuple[int, str]:
        """Choose among pumps: one alone, or the fluence where the others follow it in proportion."""
        drives = [at for at in either if self.headings[at].quantity == "voltage"]
        currents = [at for at in pumps if "current" in self.headings[at].quantity]
        if len(pumps) == 1 and not (drives and currents):
            return pumps[0], _reason(self.headings[pumps[0]])
        if len(pumps) == 1:
            raise self._unclear("x", "the pump", sorted(pumps + drives))
        best = min(pumps, key=lambda at: _rank(self.headings[at]))
        same = [at for at in pumps if _rank(self.headings[at]) == _rank(self.headings[best])]
        others = [at for at in pumps if at != best]
        if len(same) == 1 and all(self._proportional(best, at) for at in others):
            names = " and ".join(repr(self._name(at)) for at in others)
            return best, f"{_reason(self.headings[best])}; {names} follows it in proportion"
        raise self._unclear("x", "the pump", pumps)

    def _first_of_two(self, first: int, second: int) -> tuple[int, str]:
        headings = self.headings[first], self.headings[second]
        if headings[0].role != headings[1].role:  # one is known better
            known, at = (headings[0], first) if headings[0].role == "either" else (headings[1], second)
            if at == first or known.quantity in ("pulse energy", "current"):
                return at, "a pump by its name or unit"
            raise self._unclear("x", "the pump", [first, second])
        if headings[0].role == "either" and headings[0].quantity == headings[1].quantity:
            raise self._unclear("x", "the pump", [first, second])
        return first, "the first of two columns" + ("" if headings[0].named else "; no heading names them")

    # --- signal ------------------------------------------------------------------------------------

    def _signal(self, x: int) -> tuple[int, str]:
        signals, either, unknown = (self._of(role, without=x) for role in ("signal", "either", "unknown"))
        candidates = signals or either or unknown
        if signals and len(signals) > 1:
            candidates = self._clearest(signals)
        if not signals and either and unknown:
            candidates = sorted(either + unknown)
        if len(candidates) == 1:
            at = candidates[0]
            why = "a signal by its name" if at in signals else "the only column left for the signal"
            return at, why
        if candidates:
            raise self._unclear("y", "the signal", candidates)
        raise TableUnclear(
            self.path,
            f"no column is a signal: {self._listed()}",
            "y",
            self._names([a for a in self.numeric if a != x]),
        )

    def _clearest(self, signals: list[int]) -> list[int]:
        """Leave out what is a signal only by a weak word, where one is by its own."""
        weak = r"^(?:raw|peaks?|max\w*|lasing peaks?)\b.*|.*\b(?:raw|peaks|normali[sz]ed|norm|log)$"
        strong = [at for at in signals if not re.match(weak, self.headings[at].words)]
        return strong if len(strong) == 1 and self.headings[strong[0]].words in ("signal",) else signals

    def _doubt_order(self, x: int, y: int, asked: Asked) -> None:
        """Two columns without a heading: which of them is set, and which answers?"""
        if asked.x is not None or asked.y is not None:
            return
        if self.headings[x].role != "unknown" or self.headings[y].role != "unknown":
            return
        first, second = self._values(x), self._values(y)
        if self._is_counter(x, bare=True) and not self.headings[x].named:
            raise TableUnclear(
                self.path,
                f"{self._name(x)!r} counts its rows: an index, or the pump?",
                "x",
                self._names([x, y]),
            )
        if _regular(second) and not _regular(first):
            raise TableUnclear(
                self.path,
                f"{self._name(y)!r} runs in regular steps as a pump does, {self._name(x)!r} does not",
                "x",
                self._names([y, x]),
            )

    # --- errors ------------------------------------------------------------------------------------

    def _errors(self, x: int, y: int, asked: Asked, sigma: int | None) -> tuple[tuple[int, ...], int | None]:
        """Return the error columns of the signal, and that of the pump."""
        errors = self._of("error")
        owners = {at: self._owner(at) for at in errors}
        of_x = [at for at in errors if owners[at] == x and at != sigma]
        of_y = [at for at in errors if owners[at] == y]
        if asked.sigma == NONE:
            of_y = []
        elif sigma is not None:
            of_y = [sigma]
        elif len(of_y) > 1 and not self._two_sides(of_y):
            raise self._unclear("sigma", "the error of the signal", of_y)
        return tuple(of_y), of_x[0] if of_x else None

    def _owner(self, error: int) -> int | None:
        """Return the column an error belongs to: by its words, else the nearest one before it."""
        words = set(self.headings[error].words.split()) - _ERROR_WORDS
        bases = [at for at in self.numeric if self.headings[at].role != "error"]
        if words:
            shared = {at: len(words & set(self.headings[at].words.split())) for at in bases}
            best = max(shared.values(), default=0)
            owners = [at for at in bases if shared[at] == best and best]
            near = {at: abs(at - error) for at in owners}
            if owners:
                fewest = min(len(self.headings[at].words.split()) for at in owners)
                owners = [at for at in owners if len(self.headings[at].words.split()) == fewest]
                return min(owners, key=lambda at: near[at])
            letter = next(iter(words)) if len(words) == 1 else ""
            hit = [
                at
                for at in bases
                if letter and self.headings[at].words.replace(" ", "").startswith(letter[-1:])
            ]
            if letter.startswith("d") and len(hit) == 1:
                return hit[0]
            kinds = {"x": "pump", "xerr": "pump", "y": "signal", "yerr": "signal"}
            role = next((kinds[w] for w in words if w in kinds), None)
            by_role = [at for at in bases if self.headings[at].role == role]
            if len(by_role) == 1:
                return by_role[0]
        before = [at for at in bases if at < error]
        return before[-1] if before else next((at for at in bases if at > error), None)

    def _two_sides(self, errors: Sequence[int]) -> bool:
        """Whether two error columns are the upper and the lower one of one quantity."""
        texts = [self.headings[at].name.lower() for at in errors]
        sides = [bool(re.search(r"\+(?!/)|upper|plus|high|oben|obere", t)) for t in texts]
        lower = [bool(re.search(r"(?<!/)-\s*$|(?<=[_ (])-|lower|minus|low|unten|untere", t)) for t in texts]
        return len(errors) == 2 and ((sides[0] and lower[1]) or (lower[0] and sides[1]))

    # --- small -------------------------------------------------------------------------------------

    def _role(
        self, among: Sequence[int], role: str, test: Callable[[Heading], bool] | None = None
    ) -> int | None:
        hits = [at for at in among if self.headings[at].role == role]
        return next((at for at in hits if test is None or test(self.headings[at])), None)

    def _values(self, at: int) -> FloatArray:
        column = self.columns[at]
        assert column is not None
        return column.values

    def _proportional(self, a: int, b: int) -> bool:
        """Whether two columns are one quantity in two units."""
        first, second = self._values(a), self._values(b)
        good = np.isfinite(first) & np.isfinite(second) & (first > 0) & (second > 0)
        if good.sum() < 3:
            return False
        ratio = np.log(second[good] / first[good])
        return float(np.ptp(ratio)) < 2 * _PROPORTIONAL

    def _is_counter(self, at: int, *, bare: bool = False) -> bool:
        """Whether a column without a name of its own counts its rows."""
        heading = self.headings[at]
        if heading.role not in ("unknown", "index") or (heading.named and not _is_unnamed(heading.name)):
            return False
        values = self._values(at)
        counts = values.size >= _COUNTING_ROWS and values[0] in (0, 1) and bool((np.diff(values) == 1).all())
        return counts and (bare or len(self.numeric) > 2)

    def _name(self, at: int) -> str:
        return self.headings[at].name

    def _names(self, among: Sequence[int]) -> list[str]:
        names = [self._name(at) for at in among]
        every = [h.name for h in self.headings]
        return [
            name if every.count(name) == 1 else str(at + 1) for at, name in zip(among, names, strict=True)
        ]

    def _listing(self) -> str:
        return ", ".join(repr(self._name(at)) for at in range(len(self.headings))[:30])

    def _listed(self) -> str:
        """Say what each column was taken for."""
        count = len(self.numeric)
        if count < 2:
            return f"{count} numeric column{'' if count == 1 else 's'}"
        return "; ".join(
            f"{h.name!r} is {'text' if self.columns[at] is None else h.why}"
            for at, h in enumerate(self.headings[:12])
        )

    def _unclear(self, option: str, what: str, among: Sequence[int]) -> TableUnclear:
        names = " or ".join(repr(self._name(at)) for at in among)
        return TableUnclear(self.path, f"which column is {what}? {names}", option, self._names(among))


_ERROR_WORDS = {
    "err", "error", "errors", "std", "stdev", "stddev", "sd", "sem", "se", "sigma", "uncertainty", "unc",
    "deviation",
    "standard", "dev", "fehler", "unsicherheit", "standardabweichung", "abweichung", "erreur",
    "incertitude", "ecart",
    "type", "de", "of", "in", "delta", "u", "rel", "relative", "relativer", "abs", "absolute", "the",
    "mean", "±", "+",
    "confidence", "ci", "95", "interval", "spread", "scatter", "upper", "lower", "plus", "minus", "high",
    "low", "statistical",
    "stat", "der", "des", "du", "la", "le", "1",
}  # fmt: skip


def _plain(text: str) -> str:
    return re.sub(r"[^a-z0-9%]", "", spelled(text).lower())


def _rank(heading: Heading) -> int:
    return _RANK.index(heading.quantity) if heading.quantity in _RANK else len(_RANK)


def _reason(heading: Heading) -> str:
    quantity = heading.quantity or "pump"
    article = "an" if quantity[0] in "aeio" else "a"
    by = "name and unit" if heading.unit is not None and heading.words else "unit" if heading.unit else "name"
    return f"{article} {quantity} by its {by}"


def _is_unnamed(name: str) -> bool:
    return bool(re.fullmatch(r"(?i)column \d+|unnamed: ?\d+|\s*|#", name))


def _regular(values: FloatArray) -> bool:
    """Whether numbers run in equal steps, or in equal ratios."""
    known = values[np.isfinite(values)]
    if known.size < 6:
        return False
    steps = np.diff(known)
    if (steps == 0).any() or np.ptp(np.sign(steps)):
        return False
    even = float(np.ptp(steps)) < 0.02 * float(np.abs(steps).mean())
    if (known > 0).all():
        ratios = np.diff(np.log(known))
        even = even or float(np.ptp(ratios)) < 0.02 * float(np.abs(ratios).mean())
    return even


def _with_others(found: Chosen, headings: Sequence[Heading], columns: Sequence[Numbers | None]) -> Chosen:
    used = {found.x, found.y, *found.sigma, found.x_sigma, found.width, found.lines, found.repeats}
    others = tuple(
        f"{h.name!r} ({'text' if columns[at] is None else h.why})"
        for at, h in enumerate(headings)
        if at not in used and (h.named or columns[at] is not None)
    )
    return replace(found, others=others)
