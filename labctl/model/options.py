"""An option of a plan, declared once: what command line, window, Procedure and docs show, read and refuse.

Imports nothing that takes time: ``labctl --help`` shows the options.
"""

from __future__ import annotations

import dataclasses
import inspect
import math
import re
import typing
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, field, fields
from functools import cache
from types import NoneType
from typing import Any, Literal, TypeVar, get_args, get_origin

from labctl.model.errors import ConfigError

Kind = Literal["number", "whole", "word", "yes", "numbers"]
Read = Callable[[str, str, str], float]
"""Reads text as a quantity (a kind and a unit of it); ValueError where it is none."""
C = TypeVar("C", bound=type)

_QUANTITIES = {"uJ/cm2": ("fluence", "0.02 mJ/cm2"), "s": ("time", "10 min"), "nm": ("length", "0.005 um")}
"""What is measured in a unit, and how it may be typed too."""
_SUFFIX = re.compile(r"_(uj_cm2|s|c|nm|rel)$")
_MOST = 1e9
_LONGEST = 40
"""Of what somebody typed, so much is said again."""


@dataclass(frozen=True, slots=True)
class Option:
    """What is declared of one field of a plan.

    :param label: what a Procedure and the window call it.
    :param group: what it is shown with.
    :param help: one sentence, or two.
    :param unit: of its number, "" without one.
    :param least: smallest value, itself allowed.
    :param most: largest value, itself allowed.
    :param above: the value must lie above this one.
    :param below: the value must lie below this one.
    :param percent: a share of one, typed and shown in per cent.
    :param name: what it is called on a command line and in an error; the field's name without its unit,
        where nothing is said.
    :param field: of the plan; this and what follows is filled in by :func:`options`.
    :param kind: of value: a number, a whole number, one of ``words``, yes or no, or several numbers.
    :param words: that may be chosen.
    :param optional: whether it may be None.
    :param default: value where nothing is said.
    """

    label: str
    group: str
    help: str
    unit: str = ""
    least: float = -math.inf
    most: float = _MOST
    above: float = -math.inf
    below: float = math.inf
    percent: bool = False
    name: str = ""
    field: str = ""
    kind: Kind = "number"
    words: tuple[str, ...] = ()
    optional: bool = False
    default: object = None

    @property
    def flag(self) -> str:
        """The option as it is typed on a command line.

        >>> Option("Start fluence", "", "", name="reference_every").flag
        '--reference-every'
        """
        return f"--{self.name.replace('_', '-')}"

    @property
    def shown_unit(self) -> str:
        """The unit that stands beside a field."""
        return "%" if self.percent else self.unit

    @property
    def textual(self) -> bool:
        """Whether a Procedure keeps it as text: several numbers, or one that may be left out."""
        return self.optional or self.kind == "numbers"

    # --- one sentence for each wrong value -----------------------------------------------------------

    def refused(self, value: object) -> str:
        """Say why a value is refused; "" where it is taken.

        >>> Option("Exposures", "", "", least=1, kind="whole").refused(0)
        'must be 1 or more, not 0'
        """
        if value is None and self.optional:
            return ""
        if self.kind == "word":
            return "" if value in self.words else f"invalid value {_cut(value)}; choose {_either(self.words)}"
        if self.kind == "yes":
            return "" if isinstance(value, bool) else f"invalid value {_cut(value)}; choose yes or no"
        if self.kind == "numbers":
            if not isinstance(value, Sequence) or isinstance(value, str):
                return f"{_cut(value)} is not a list of numbers"
            return next((why for one in value if (why := self._number_refused(one))), "")
        return self._number_refused(value)

    def _number_refused(self, value: object) -> str:
        if isinstance(value, bool) or not isinstance(value, (int, float)) or value != value:
            return f"{_cut(value)} is not a number"
        if self.kind == "whole" and not isinstance(value, int):
            return f"{_cut(value)} is not a whole number"
        if value <= self.above:
            limit = self._said(self.above) if self.above else "zero"
            return f"{self._said(value)} is not above {limit}"
        if value >= self.below < math.inf:
            return f"must be below {self._said(self.below)}, not {self._said(value)}"
        if value < self.least:
            return f"must be {self._said(self.least)} or more, not {self._said(value)}"
        if value > self.most:
            return f"must be {self._said(self.most)} or less, not {self._said(value)}"
        return ""

    def _said(self, value: float) -> str:
        """Return a number with its unit."""
        if isinstance(value, int) and abs(value) > _MOST:
            return "a number of more than nine digits"  # which may be thousands
        number = 100 * value if self.percent else value
        whole = self.kind == "whole" and math.isfinite(number)
        return f"{f'{number:.0f}' if whole else f'{number:g}'} {self.shown_unit}".rstrip()

    # --- text ----------------------------------------------------------------------------------------

    def read(self, text: str, quantity: Read | None = None) -> Any:
        """Return the value that somebody typed; empty text is None, or an empty list, where that is allowed.

        :param quantity: reads a number with a unit; without it a plain number alone is understood.
        :raises ConfigError: it cannot be read, or :meth:`refused` says why not.

        >>> Option("Target", "", "", percent=True, name="target").read("3 %")
        0.03
        """
        value = self._read(text.strip(), quantity)
        if reason := self.refused(value):
            raise self.wrong(reason)
        return value

    def wrong(self, reason: str, hint: str = "") -> ConfigError:
        """Return the error that names this option."""
        return ConfigError(reason, key=self.name, hint=hint)

    def _read(self, text: str, quantity: Read | None) -> Any:
        if not text and self.optional:
            return None
        if self.kind == "word":
            return text
        if self.kind == "yes":
            return {"yes": True, "true": True, "no": False, "false": False}.get(text.lower(), text)
        if self.kind == "numbers":
            units = re.search(r"[^\d\s,;.eE+-]", text)  # blanks stand before them then, and part nothing
            parts = re.split(r"[,;]" if units else r"[,;\s]", text)
            try:
                return tuple(self._number(part.strip(), quantity) for part in parts if part.strip())
            except ConfigError:
                raise self.wrong(f"{_cut(text)} is not a list of numbers", "20, 30, 45") from None
        if not text:
            raise self.wrong("a number is needed")
        return self._number(text, quantity)

    def _number(self, text: str, quantity: Read | None) -> float:
        if self.percent:
            return self._share(text)
        try:
            return int(text) if self.kind == "whole" else float(text)
        except ValueError:
            what, example = _QUANTITIES.get(self.unit, ("", ""))
        if not what or not re.search(r"\d", text):
            kind = "whole number" if self.kind == "whole" and re.search(r"\d", text) else "number"
            raise self.wrong(f"{_cut(text)} is not a {kind}")
        try:
            if quantity is not None:
                return quantity(text, what, self.unit)
        except ValueError:
            pass
        raise self.wrong(f"{_cut(text)} is not a {what}; write it as 20, 20{self.unit} or {example}")

    def _share(self, text: str) -> float:
        try:
            value = float(text.rstrip("% "))
        except ValueError:
            raise self.wrong(f"{_cut(text)} is not a number") from None
        if text.endswith("%"):
            return value / 100
        if 1 <= value < math.inf:
            raise self.wrong(f"{text!r} could be a share or a percentage", f"{text}%")
        return value

    def write(self, value: object) -> str:
        """Return a value as text that :meth:`read` understands, per cent with their sign.

        >>> Option("Fluences", "", "", kind="numbers").write((20.0, 30.5))
        '20, 30.5'
        """
        if value is None:
            return ""
        if isinstance(value, bool):
            return "yes" if value else "no"
        if isinstance(value, (tuple, list)):
            return ", ".join(self.write(one) for one in value)
        if isinstance(value, float):
            return f"{100 * value:.12g} %" if self.percent else f"{value:.12g}"
        return str(value)

    @property
    def limits(self) -> str:
        """What may be typed, in a few words; "" where anything of its kind may.

        >>> Option("Exposures", "", "", least=1, most=100, kind="whole").limits
        '1 to 100'
        """
        if self.words:
            return _either(self.words)
        low = max(self.least, self.above)
        high = min(self.most, self.below)
        if low == -math.inf:
            return ""
        under = "above " if self.above > self.least else ""
        if high >= _MOST:
            return f"{under}{self._said(low)}" if under else f"{self._said(low)} or more"
        return f"{under}{self._said(low)} {'and below' if under else 'to'} {self._said(high)}"


def option(default: object, label: str, group: str, help: str, **more: Any) -> Any:  # noqa: A002
    """Return the field of a dataclass that is an option; ``more`` is what :class:`Option` takes."""
    return field(default=default, metadata={"option": Option(label, group, help, **more)})


def options(plan: Any) -> Mapping[str, Option]:
    """Return the options of a kind of plan by their names, in the order of its fields."""
    return _options(plan)


@cache
def _options(plan: Any) -> Mapping[str, Option]:
    hints = typing.get_type_hints(plan)
    found = (_filled(f, hints[f.name]) for f in fields(plan) if "option" in f.metadata)
    return {made.name: made for made in found}


def _filled(declared: dataclasses.Field[Any], hint: Any) -> Option:
    """Return what is declared, with what the field itself says."""
    inner = [kind for kind in get_args(hint) if kind is not NoneType]
    optional = NoneType in get_args(hint)
    plain = inner[0] if optional else hint
    words = get_args(plain) if get_origin(plain) is Literal else ()
    kinds: dict[Any, Kind] = {int: "whole", bool: "yes", float: "number"}
    made: Option = declared.metadata["option"]
    return dataclasses.replace(
        made,
        name=made.name or _SUFFIX.sub("", declared.name),
        field=declared.name,
        kind="word" if words else kinds.get(plain, "numbers"),
        words=words,
        optional=optional,
        default=declared.default,
    )


def check_options(plan: Any) -> None:
    """Refuse a plan with a value that its options do not allow.

    :raises ConfigError: names the option, and says of its value why not.
    """
    for made in options(type(plan)).values():
        if reason := made.refused(getattr(plan, made.field)):
            raise made.wrong(reason)


def documented(plan: C) -> C:
    """Write the options that a class declares itself into its docstring."""
    own = [made for made in options(plan).values() if made.field in plan.__annotations__]
    lines = [f":param {made.field}: {made.help}{_beside(made)}" for made in own]
    said = inspect.cleandoc(plan.__doc__ or "")
    plan.__doc__ = "\n".join([said, *([] if ":param" in said else [""]), *lines])
    return plan


def _beside(made: Option) -> str:
    said = made.limits or made.unit
    return f" ({said})" if said else ""


def _either(words: Sequence[str]) -> str:
    return " or ".join(word for word in (", ".join(words[:-1]), words[-1]) if word)


def _cut(value: object) -> str:
    if isinstance(value, int) and not isinstance(value, bool) and abs(value) > _MOST:
        return "a number of more than nine digits"
    text = repr(value)
    return text if len(text) <= _LONGEST else f"{text[:_LONGEST]}…{text[-1]}"
