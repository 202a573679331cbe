"""The kinds of calibration: what each is and needs, and which options it has."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Any

from PySide6.QtCore import Signal
from PySide6.QtWidgets import QCheckBox, QComboBox, QHBoxLayout, QVBoxLayout, QWidget

from labctl.gui.base.fields import Field, NumberField, PlainLabel, between, remembered, whole
from labctl.model.calibration import CalibrationKind
from labctl.model.untrusted import read_regular
from procedures.calibration.context import OPTIONS, CalOptions

Own = dict[str, Any]
LABEL_PX = 126


class Choice(QWidget):
    """A labelled choice.

    :ivar changed: something else was chosen.
    """

    changed = Signal()

    def __init__(self, label: str, entries: tuple[tuple[str, str], ...], tip: str) -> None:
        super().__init__()
        name, self.box = PlainLabel(label), QComboBox()
        name.setMinimumWidth(LABEL_PX)
        self.box.setSizeAdjustPolicy(QComboBox.SizeAdjustPolicy.AdjustToMinimumContentsLengthWithIcon)
        self.box.setMinimumContentsLength(12)
        for text, data in entries:
            self.box.addItem(text, data)
        self.setToolTip(tip)
        row = QHBoxLayout(self)
        row.setContentsMargins(0, 0, 0, 0)
        row.addWidget(name)
        row.addWidget(self.box, 1)
        self.box.currentIndexChanged.connect(lambda _i: self.changed.emit())

    @property
    def value(self) -> str:
        """What is chosen."""
        return str(self.box.currentData())


def named_numbers(text: str) -> dict[str, float]:
    """Read ``name:number, name:number``.

    :raises ValueError: says which part is none.
    """
    found: dict[str, float] = {}
    for part in filter(None, (piece.strip() for piece in text.split(","))):
        name, colon, number = part.rpartition(":")
        if not colon or not name.strip():
            raise ValueError(f"“{part}” is not name:number")
        try:
            found[name.strip()] = float(number)
        except ValueError:
            raise ValueError(f"“{number.strip()}” is not a number") from None
    return found


class OptionForm(QWidget):
    """The options of one kind.

    A field whose name is that of an option is that option.

    :param make: adds the fields of the kind.
    :param own: reads those that are not; None where one is refused.
    :ivar changed: something was typed or chosen.
    """

    changed = Signal()

    def __init__(
        self,
        kind: CalibrationKind,
        make: Callable[[OptionForm], None],
        own: Callable[[OptionForm], Own | None],
    ) -> None:
        super().__init__()
        self.kind, self._own = kind, own
        self._column = QVBoxLayout(self)
        self._column.setContentsMargins(0, 0, 0, 0)
        self._column.setSpacing(4)
        self.fields: dict[str, NumberField | Field | Choice | QCheckBox] = {}
        make(self)
        if kind != "spectrometer":
            self.number("sensor_limit_mw", "Sensor survives", None, "mW", "Mean power", between(1e-6, 1e6))
            self.number("readings", "Readings", 4, "a setting", "Averaged", whole(2, 100))
        self.number("valid_days", "Valid for", 30, "days", "Then a warning follows", between(0.1, 10_000))
        self.words("operator", "Operator", remembered("sweep/operator"), "Who measures")
        self.words("note", "Note", "", "Anything worth keeping")
        self._column.addStretch(1)

    # --- building ----------------------------------------------------------------------------------

    def number(
        self,
        key: str,
        label: str,
        value: float | None,
        unit: str,
        tip: str,
        check: Callable[[float], str],
    ) -> None:
        """Add a number; one without a value may be left empty."""
        field = NumberField(label, value, unit, tip, check, optional=value is None, label_width=LABEL_PX)
        self._add(key, field)

    def words(self, key: str, label: str, text: str, tip: str, unit: str = "") -> None:
        """Add a line of text."""
        self._add(key, Field(label, text, unit, tip, LABEL_PX))

    def choice(self, key: str, label: str, entries: tuple[tuple[str, str], ...], tip: str) -> None:
        """Add a choice."""
        self._add(key, Choice(label, entries, tip))

    def flag(self, key: str, label: str, tip: str, *, on: bool = False) -> None:
        """Add a switch."""
        box = QCheckBox(label)
        box.setToolTip(tip)
        box.setChecked(on)
        box.toggled.connect(lambda _on: self.changed.emit())
        self.fields[key] = box
        self._column.addWidget(box)

    def _add(self, key: str, field: NumberField | Field | Choice) -> None:
        self.fields[key] = field
        field.changed.connect(self.changed)
        self._column.addWidget(field)

    # --- reading -----------------------------------------------------------------------------------

    def options(self) -> CalOptions | None:
        """Return the options, None where a field is refused; the field says why."""
        good = [field.judge() for field in self.fields.values() if isinstance(field, NumberField)]
        usual = OPTIONS[self.kind]()
        read = {key: self._read(key, getattr(usual, key)) for key in self.fields if hasattr(usual, key)}
        own = self._own(self)
        return None if own is None or not all(good) else replace(usual, **read | own)

    def _read(self, key: str, usual: Any) -> Any:
        """Return what a field holds; where a number is left empty, what is usual."""
        field = self.fields[key]
        if isinstance(field, QCheckBox):
            return field.isChecked()
        if not isinstance(field, NumberField):
            return self.text(key)
        if field.value is None:
            return usual
        return int(field.value) if isinstance(usual, int) else field.value

    def value(self, key: str) -> float | None:
        """Return a number."""
        field = self.fields[key]
        assert isinstance(field, NumberField)
        return field.value

    def text(self, key: str) -> str:
        """Return a text or a choice."""
        field = self.fields[key]
        if isinstance(field, Choice):
            return field.value
        assert isinstance(field, Field)
        return field.text

    def on(self, key: str) -> bool:
        """Return a switch."""
        field = self.fields[key]
        assert isinstance(field, QCheckBox)
        return field.isChecked()

    def refuse(self, key: str, reason: str) -> None:
        """Say why a text is refused."""
        field = self.fields[key]
        assert isinstance(field, Field)
        field.refuse(reason)

    def named(self, key: str) -> dict[str, float] | None:
        """Return names with numbers; None where they are refused."""
        try:
            found = named_numbers(self.text(key))
        except ValueError as exc:
            self.refuse(key, str(exc))
            return None
        self.refuse(key, "")
        return found


MOST_TABLE = 1_000_000


@dataclass(frozen=True, slots=True)
class About:
    """Words on one kind: its name, what will happen in two sentences, and what is needed."""

    name: str
    what: str
    needs: str


ABOUT: Mapping[CalibrationKind, About] = {
    "attenuator": About(
        "Attenuator",
        "Turns the wave plate through its range, reads the power at each angle and fits a curve. Angles are "
        "approached from both sides, which also gives backlash and repeatability of the mount.",
        "power meter at the pick-off or at the sample position, sample removed",
    ),
    "pickoff": About(
        "Pick-off ratio",
        "Reads the same settings with one sensor at the pick-off, at the sample position, and at the "
        "pick-off again. The ratio converts a reading during a sweep into power on the sample.",
        "power meter that can be moved between both positions, sample removed",
    ),
    "energy": About(
        "Pulse energy",
        "Measures repetition rate, mean pulse energy, its variation and its drift at full transmission. The "
        "pulse width at the sample is stated, or computed from the dispersive glass in the beam.",
        "power meter at the sample position, sample removed; a pyroelectric head for single pulses",
    ),
    "spot": About(
        "Spot",
        "Moves a knife edge through the focus along x and along y and reads the transmitted power. A fitted "
        "error function gives the 1/e² radii.",
        "knife edge on a stage or a micrometer in the sample plane, power meter behind it, sample removed",
    ),
    "spectrometer": About(
        "Spectrometer",
        "Lamps with known lines in front of the fibre give the wavelength axis and the resolution. Darks "
        "and linearity are measured as well.",
        "Hg-Ar, Ne or Kr lamp; the pump stays blocked",
    ),
}


_PLACES = (("from the beam order", ""), ("at the pick-off", "pick-off"), ("at the sample", "sample"))


def _make_attenuator(form: OptionForm) -> None:
    forms = (("half-wave plate and polariser", "malus"), ("gradient wheel", "table"))
    form.choice("form", "Kind", forms, "Type of attenuator: fit Malus' law, or measure a table")
    form.choice("place", "Meter", _PLACES, "Position of the power meter")
    form.number("points", "Angles", 24, "", "Of the fine scan", whole(8, 200))
    form.number("pairs", "Pairs", 8, "", "Approaches from each side, for the backlash", whole(3, 50))


def _metered(form: OptionForm) -> Own:
    limit_mw = form.value("sensor_limit_mw")
    return {"sensor_limit_w": None if limit_mw is None else 1e-3 * limit_mw}


def _make_pickoff(form: OptionForm) -> None:
    form.number("points", "Powers", 8, "", "Powers at which the two positions are compared", whole(5, 40))
    form.words("filters", "Filters", "", "Filters and losses in between, name:transmission, ...", "name:T")


def _read_pickoff(form: OptionForm) -> Own | None:
    filters = form.named("filters")
    return None if filters is None else _metered(form) | {"filters": filters}


def _make_energy(form: OptionForm) -> None:
    rate, width = between(1e-3, 1e9, "Hz"), between(1.0, 1e6, "fs")
    form.number("rate_hz", "Rate, stated", None, "Hz", "For heads that cannot count pulses", rate)
    form.number("rate_sigma_hz", "Its uncertainty", 0, "Hz", "Standard", between(0, 1e9, "Hz"))
    form.number("drift_s", "Watch drift for", 60, "s", "At full transmission", between(1, 86_400, "s"))
    form.number("pulses", "Single pulses", 400, "", "If the head resolves them", whole(0, 100_000))
    form.number("pulse_width_fs", "Pulse width", None, "fs", "Measured AT THE SAMPLE", width)
    form.number("pulse_width_sigma_fs", "Its uncertainty", 0, "fs", "Standard", between(0, 1e6, "fs"))
    form.number("pulse_fs", "Before the glass", None, "fs", "To compute the width at the sample", width)
    form.words("glasses", "Glasses", "", "In the beam: fused-silica:12, n-bk7:5", "name:mm")


def _read_energy(form: OptionForm) -> Own | None:
    glasses = form.named("glasses")
    return None if glasses is None else _metered(form) | {"glasses": glasses}


def _make_spot(form: OptionForm) -> None:
    methods = (
        ("stage if there is one, else manual", ""),
        ("motorised stage", "stage"),
        ("micrometer, manual", "hand"),
        ("stated", "stated"),
    )
    shapes = (("Gaussian, 1/e² radii", "gaussian"), ("flat ellipse", "ellipse"), ("stripe", "stripe"))
    size, position = between(1e-2, 1e6, "µm"), between(-1e6, 1e6, "µm")
    form.choice("method", "Blade", methods, "How the knife edge is moved; sizes can be stated instead")
    form.choice("shape", "Shape", shapes, "A Gaussian is measured, the other shapes are stated")
    form.number(
        "points", "Readings", None, "an axis", "On slope and plateaus; empty: default number", whole(12, 60)
    )
    form.number("low_um", "Blade from", 0, "µm", "Lowest micrometer position", position)
    form.number("high_um", "to", 10_000, "µm", "Highest micrometer position", position)
    form.number(
        "position_sigma_um", "Position error", None, "µm", "Standard error of one; empty: from the data",
        between(0, 1e3, "µm"),
    )  # fmt: skip
    form.number("scale_sigma_pct", "Scale error", 0.1, "%", "Of micrometer or stage", between(0, 20, "%"))
    form.number("x_um", "Stated x", None, "µm", "Semi-axis or half-length", size)
    form.number("y_um", "Stated y", None, "µm", "Semi-axis or half-length", size)
    form.number("size_sigma_um", "Its uncertainty", 0, "µm", "Of both stated sizes", between(0, 1e6, "µm"))
    form.number("incidence_deg", "Incidence", None, "°", "Of the pump on the sample", between(0, 89, "°"))
    form.words("absorption", "Absorption", "", "CSV of nm and transmission; one-photon pumping only", "file")
    form.flag("optical_density", "Values are optical densities", "Instead of transmissions from 0 to 1")


def _read_spot(form: OptionForm) -> Own | None:
    table = ""
    if form.text("absorption"):
        try:
            table = read_regular(Path(form.text("absorption")).expanduser(), MOST_TABLE).decode("utf-8-sig")
        except (OSError, ValueError, RuntimeError) as exc:
            form.refuse("absorption", f"cannot be read: {getattr(exc, 'strerror', None) or exc}")
            return None
    form.refuse("absorption", "")
    return _metered(form) | {
        "range_um": (form.value("low_um") or 0.0, form.value("high_um") or 0.0),
        "scale_sigma_rel": (form.value("scale_sigma_pct") or 0.0) / 100,
        "absorption_csv": table,
    }


def _make_spectrometer(form: OptionForm) -> None:
    for lamp, name in (("hg-ar", "Hg-Ar lamp"), ("ne", "Ne lamp"), ("kr", "Kr lamp")):
        form.flag(lamp, name, f"Put the {name} in front of the fibre when asked", on=lamp == "hg-ar")
    form.flag("linearity", "Measure the linearity", "Even if the spectrometer stores its own")
    form.number("frames", "Exposures", 20, "a setting", "Averaged", whole(2, 1000))


def _read_spectrometer(form: OptionForm) -> Own | None:
    lamps = tuple(lamp for lamp in ("hg-ar", "ne", "kr") if form.on(lamp))
    return {"lamps": lamps} if lamps else None


def make_form(kind: CalibrationKind) -> OptionForm:
    """Return the fields of a kind."""
    return OptionForm(kind, _MAKERS[kind], _READERS[kind])


_MAKERS: Mapping[CalibrationKind, Callable[[OptionForm], None]] = {
    "attenuator": _make_attenuator,
    "pickoff": _make_pickoff,
    "energy": _make_energy,
    "spot": _make_spot,
    "spectrometer": _make_spectrometer,
}
_READERS: Mapping[CalibrationKind, Callable[[OptionForm], Own | None]] = {
    "attenuator": _metered,
    "pickoff": _read_pickoff,
    "energy": _read_energy,
    "spot": _read_spot,
    "spectrometer": _read_spectrometer,
}
