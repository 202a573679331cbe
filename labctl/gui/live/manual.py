"""Driving the bench by hand; every wish goes through the same gate as a sweep."""

from __future__ import annotations

from collections.abc import Callable
from functools import partial

from PySide6.QtWidgets import QGroupBox, QHBoxLayout, QPushButton, QVBoxLayout, QWidget

from labctl.config import BenchConfig
from labctl.gui.base.fields import NumberField, PlainLabel, between, whole
from labctl.model.records import SpectrometerInfo
from labctl.runner.wording import UNIT
from labctl.service.messages import (
    Command,
    Home,
    Jog,
    MoveShutter,
    SetAngle,
    SetExposure,
    SetFluence,
    Stream,
    TakeDark,
)
from procedures.gate.fluence import make_beam

JOGS_DEG = (-1.0, -0.1, 0.1, 1.0)


class ManualPanel(QWidget):
    """Fluence, angle, shutter and spectra by hand.

    :param post: takes commands.
    :param close: closes the shutter, whatever runs.
    """

    def __init__(
        self, config: BenchConfig, post: Callable[[Command], None], close: Callable[[], None]
    ) -> None:
        super().__init__()
        self._post, self._close = post, close
        self._beam = make_beam(config.pump_settings(), config.limit_settings())
        low, high = config.limits.angle_range_deg or (-360.0, 360.0)
        convention = config.pump.convention
        self.fluence = NumberField(
            "Fluence",
            None,
            UNIT,
            f"On the sample, {convention}; not above the bench's limits",
            self._forbidden,
            optional=True,
            label_width=70,
        )
        self.angle = NumberField(
            "Angle", None, "°", "Of the mount", between(low, high, "°"), optional=True, label_width=70
        )
        self.exposure = NumberField(
            "Exposure", 0.1, "s", "Exposure time of manual spectra", between(1e-5, 60.0, "s")
        )
        self.darks = NumberField("Darks", 10, "", "Exposures of a dark", whole(1, 1000))
        column = QVBoxLayout(self)
        column.addWidget(self._light(convention))
        column.addWidget(self._shutter())
        column.addWidget(self._spectra())
        column.addStretch(1)
        self.set_enabled(False)

    def _light(self, convention: str) -> QGroupBox:
        box, column = _box(f"Light on the sample ({convention})")
        self.set_fluence = _button(
            "Set fluence", "Turn the wave plate and verify with the power meter (Return)", self._set_fluence
        )
        self.set_angle = _button(
            "Set angle", "Turn the wave plate to an angle and verify with the power meter", self._set_angle
        )
        for field, button, act in (
            (self.fluence, self.set_fluence, self._set_fluence),
            (self.angle, self.set_angle, self._set_angle),
        ):
            field.edit.returnPressed.connect(act)
            row = QHBoxLayout()
            row.addWidget(field, 1)
            row.addWidget(button)
            column.addLayout(row)
        jogs = QHBoxLayout()
        jogs.addWidget(PlainLabel("Jog"))
        for step in JOGS_DEG:
            jogs.addWidget(_button(f"{step:+g}°", f"Turn by {step:+g}°", partial(self._jog, step)))
        jogs.addWidget(_button("Home", "Home the mount with the shutter closed", lambda: self._post(Home())))
        column.addLayout(jogs)
        return box

    def _shutter(self) -> QGroupBox:
        box, column = _box("Shutter")
        row = QHBoxLayout()
        self.open = _button(
            "Open", "Open the shutter: light on the sample (F6)", lambda: self._post(MoveShutter(True))
        )
        self.close_button = _button(
            "Close", "Close the shutter at once; this also ends a run (F7)", self._close
        )
        row.addWidget(self.open)
        row.addWidget(self.close_button)
        column.addLayout(row)
        return box

    def _spectra(self) -> QGroupBox:
        box, column = _box("Spectra")
        column.addWidget(self.exposure)
        column.addWidget(self.darks)
        self.exposure.edit.editingFinished.connect(self._set_exposure)
        row = QHBoxLayout()
        self.stream = _button("Free run", "Continuous spectra (F5)", lambda: None)
        self.stream.setCheckable(True)
        self.stream.toggled.connect(self._stream)
        self.dark = _button(
            "Take dark", "Close the shutter and take a dark at this exposure time (F8)", self._dark
        )
        row.addWidget(self.stream)
        row.addWidget(self.dark)
        column.addLayout(row)
        return box

    def show_config(self, config: BenchConfig) -> None:
        """Judge by another bench file."""
        self._beam = make_beam(config.pump_settings(), config.limit_settings())
        self.fluence.judge()

    # --- acts --------------------------------------------------------------------------------------

    def _forbidden(self, fluence: float) -> str:
        return self._beam.forbidden(fluence).replace("uJ/cm2", UNIT)

    def _set_fluence(self) -> None:
        value = self.fluence.value
        if value is not None:
            self._post(SetFluence(value))

    def _jog(self, by_deg: float) -> None:
        self._post(Jog(by_deg))

    def _set_angle(self) -> None:
        value = self.angle.value
        if value is not None:
            self._post(SetAngle(value))

    def _set_exposure(self) -> None:
        value = self.exposure.value
        if value is not None:
            self._post(SetExposure(value))

    def _stream(self, on: bool) -> None:
        self._set_exposure()
        self._post(Stream(on))

    def _dark(self) -> None:
        count = self.darks.value
        if count is not None and self.exposure.value is not None:
            self._set_exposure()
            self._post(TakeDark(int(count)))

    def show_info(self, info: SpectrometerInfo | None) -> None:
        """Judge exposure times by the spectrometer that is there."""
        if info is not None:
            self.exposure.set_check(between(info.integration_min_s, info.integration_max_s, "s"))

    def set_enabled(self, enabled: bool) -> None:
        """Allow commands only while the bench is connected and idle."""
        for button in self.findChildren(QPushButton):
            button.setEnabled(enabled or button is self.close_button)
        if not enabled:
            self.show_stopped()

    def show_stopped(self) -> None:
        """Show that the stream has been ended by something else."""
        blocked = self.stream.blockSignals(True)
        self.stream.setChecked(False)
        self.stream.blockSignals(blocked)


def _box(title: str) -> tuple[QGroupBox, QVBoxLayout]:
    box = QGroupBox(title)
    column = QVBoxLayout(box)
    column.setSpacing(6)
    return box, column


def _button(text: str, tip: str, act: Callable[[], object]) -> QPushButton:
    button = QPushButton(text)
    button.setToolTip(tip)
    button.clicked.connect(lambda _checked=False: act())
    return button
