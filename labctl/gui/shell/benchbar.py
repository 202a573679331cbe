"""The bar over everything: who is there, what is on the sample, and SAFE."""

from __future__ import annotations

from collections.abc import Callable

from PySide6.QtCore import QSize, Qt, Signal
from PySide6.QtWidgets import (
    QFrame,
    QGridLayout,
    QHBoxLayout,
    QLabel,
    QPushButton,
    QScrollArea,
    QVBoxLayout,
    QWidget,
)

from labctl.config import BenchConfig
from labctl.gui.base import benchstate, theme
from labctl.gui.base.benchstate import NAMES, Shown
from labctl.gui.base.fields import Field, PlainLabel, rich, tool_tip
from labctl.model.roles import LIGHT
from labctl.runner.wording import UNIT
from labctl.service.messages import Asked, Differences, Insert, Link, Withdrawn
from labctl.service.observed import Seen


class ConnectionPanel(QFrame):
    """Shown while the bench could not be connected; hidden otherwise."""

    again = Signal()

    def __init__(self) -> None:
        super().__init__()
        self.setStyleSheet(
            f"ConnectionPanel {{ background: {theme.WRONG_GROUND}; border: 1px solid {theme.DANGER}; }}"
        )
        self.text = QLabel()
        self.text.setWordWrap(True)
        column = QVBoxLayout(self)
        column.addWidget(self.text)
        row = QHBoxLayout()
        retry, hide = QPushButton("Try again"), QPushButton("Hide")
        retry.setToolTip("Connect again")
        retry.clicked.connect(self.again)
        hide.clicked.connect(lambda: self.setVisible(False))
        row.addWidget(retry)
        row.addWidget(hide)
        row.addStretch(1)
        column.addLayout(row)
        self.setVisible(False)

    def show_link(self, link: Link) -> None:
        """List the failures of a link; none hide the panel."""
        if link.state != "failed":
            self.setVisible(False)
            return
        rows = "".join(
            f"<tr><td style='padding-right:14px'><b>{rich(f.role)}</b></td>"
            f"<td style='padding-right:14px'>{rich(f.resource)}</td>"
            f"<td style='padding-right:14px'>{rich(f.reason)}</td>"
            f"<td style='color:{theme.THRESHOLD}'>try: "
            f"{rich(f.hint or 'see labctl check')}</td></tr>"
            for f in link.failures
        )
        body = f"<table>{rows}</table>" if rows else rich(link.message)
        self.text.setText(f"<b>The bench is not connected.</b>{body}")
        self.setVisible(True)


MOST_PX = 220


class AgreePanel(QFrame):
    """Shown while a run waits for somebody: to agree to differences, or to put something into the beam.

    :param answer: takes the number of the question, and whether it was agreed to.
    """

    def __init__(self, answer: Callable[[int, object], None]) -> None:
        super().__init__()
        self._answer, self._number, self._word = answer, 0, ""
        self.setStyleSheet(
            f"AgreePanel {{ background: {theme.ASK_GROUND}; border: 1px solid {theme.WARN}; }}"
        )
        self.text = QLabel()
        self.text.setWordWrap(True)
        area = QScrollArea()
        area.setWidgetResizable(True)
        area.setWidget(self.text)
        area.setMaximumHeight(MOST_PX)
        area.setStyleSheet("background: transparent;")
        self.word = Field(f"Light follows: type {LIGHT}", "", "", "A word is not typed by mistake")
        self.word.changed.connect(self._judge)
        self.agree, self.leave = QPushButton(), QPushButton()
        self.agree.setObjectName("go")
        self.agree.clicked.connect(lambda: self._say(True))
        self.leave.clicked.connect(lambda: self._say(False))
        row = QHBoxLayout()
        row.addWidget(self.word)
        row.addWidget(self.agree)
        row.addWidget(self.leave)
        row.addStretch(1)
        column = QVBoxLayout(self)
        column.addWidget(area)
        column.addLayout(row)
        self.setVisible(False)

    def ask(self, asked: Asked) -> None:
        """Show a question: :class:`Differences` or :class:`Insert`."""
        self._number = asked.number
        if isinstance(asked.what, Differences):
            lines = "".join(f"<li>{rich(line)}</li>" for line in asked.what.lines)
            self._show(
                "<b>The bench differs from the run's.</b> The shutter is closed; nothing is measured until "
                f"you agree.<ul>{lines}</ul>",
                ("Continue with this bench", "Accept the differences: they are noted in the run file"),
                ("Do not resume", "Measure nothing; the file is not changed"),
            )
        elif isinstance(asked.what, Insert):
            what = asked.what.what
            self._show(
                f"<b>Put the {what} into the beam.</b> The shutter is closed; light follows.",
                (f"The {what} is in the beam", "Go on: the shutter opens"),
                ("End the run", "Every point so far is kept"),
                word=LIGHT,
            )

    def _show(self, text: str, agree: tuple[str, str], leave: tuple[str, str], word: str = "") -> None:
        """Show a text, and two buttons with what each of them does."""
        self._word = word
        self.text.setText(text)
        for button, (label, tip) in ((self.agree, agree), (self.leave, leave)):
            button.setText(label)
            button.setToolTip(tip)
        self.word.setVisible(bool(word))
        self.word.set_text("")
        self._judge()
        self.setVisible(True)

    def _judge(self) -> None:
        self.agree.setEnabled(self.word.text.lower() == self._word)

    def withdraw(self, told: Withdrawn) -> None:
        """Hide a question that nobody waits for any more."""
        if told.number == self._number:
            self.setVisible(False)

    def _say(self, agreed: bool) -> None:
        self.setVisible(False)
        self._answer(self._number, agreed)


LAMPS_HIGH = 3
"""Rows of instruments: as high as the large readout, and as narrow as can be."""
LAMP = "●"


def _short(identity: str) -> str:
    """Return the model: the first word of an identity that holds a digit, else its last word but one."""
    words = identity.split()
    return next((word for word in words if any(c.isdigit() for c in word)), words[-1] if words else "")[:12]


class Readout(QWidget):
    """One value with its name above it, or before it where two stand one over the other.

    :param size_pt: of the value.
    """

    def __init__(
        self, name: str, tip: str, size_pt: int = 16, widest: str = "", *, beside: bool = False
    ) -> None:
        super().__init__()
        self.setStyleSheet("background: transparent;")
        column = QHBoxLayout(self) if beside else QVBoxLayout(self)
        column.setContentsMargins(6, 0, 6, 0)
        column.setSpacing(6 if beside else 0)
        self._face = f"font-size: {size_pt}pt; font-weight: 700;"
        self.name, self.value = PlainLabel(name), PlainLabel("–")
        self.name.setProperty("role", "dim")
        self.value.setStyleSheet(self._face)
        self.value.setText(widest)  # a bar whose parts move is hard to read, and a narrow one clips
        self.value.ensurePolished()
        self.value.setMinimumWidth(self.value.sizeHint().width())
        self.value.setText("–")
        column.addWidget(self.name)
        column.addWidget(self.value)
        self.setToolTip(tip)

    def show_value(self, shown: Shown) -> None:
        """Show a value; one that holds no more is struck out."""
        if shown.text != self.value.text():
            self.value.setText(shown.text)
        line = "line-through" if shown.struck else "none"
        sheet = f"{self._face} color: {theme.TONES[shown.tone]}; text-decoration: {line};"
        if sheet != self.value.styleSheet():
            self.value.setStyleSheet(sheet)


class _Sideways(QScrollArea):
    """Scrolls to the side where a bar is too wide for the screen; it is as high as what is inside."""

    def __init__(self, inside: QWidget) -> None:
        super().__init__()
        self._inside = inside
        self.setWidgetResizable(True)
        self.setVerticalScrollBarPolicy(Qt.ScrollBarPolicy.ScrollBarAlwaysOff)
        self.setFocusPolicy(Qt.FocusPolicy.NoFocus)
        self.setStyleSheet("QScrollArea { background: transparent; }")
        self.setWidget(inside)
        self.horizontalScrollBar().rangeChanged.connect(lambda _low, _high: self.updateGeometry())

    def sizeHint(self) -> QSize:  # noqa: N802
        """Return the size of what is inside, with the bar where it is wanted."""
        inside = self._inside.minimumSizeHint()
        bar = self.horizontalScrollBar()
        return QSize(inside.width(), inside.height() + (bar.sizeHint().height() if bar.maximum() else 0))

    def minimumSizeHint(self) -> QSize:  # noqa: N802
        """Ask for the height, and for little of the width."""
        return QSize(LEAST_BAR_PX, self.sizeHint().height())


LEAST_BAR_PX = 320


class BenchBar(QFrame):
    """State of the bench, connection, and the one large SAFE.

    :ivar safe_wanted: SAFE was pressed; also told by the window for Esc.
    """

    safe_wanted = Signal()
    connect_wanted = Signal()
    disconnect_wanted = Signal()

    def __init__(self, config: BenchConfig) -> None:
        super().__init__()
        self.setStyleSheet(
            f"BenchBar {{ background: {theme.PANEL}; border-bottom: 1px solid {theme.LINE}; }}"
        )
        self._convention = config.pump.convention
        self._rate_hz = config.pump.repetition_rate_hz
        self._lights: dict[str, QLabel] = {}
        self._link = Link("disconnected")
        self._troubles: tuple[object, object] = ({}, frozenset())
        whole, values = QHBoxLayout(self), QWidget()
        whole.setContentsMargins(10, 4, 10, 4)
        values.setStyleSheet("background: transparent;")
        row = QHBoxLayout(values)
        row.setContentsMargins(0, 0, 0, 0)
        row.addWidget(self._instruments(config))
        self.fluence = Readout(
            f"Fluence, {self._convention} ({UNIT})",
            f"On the sample, {UNIT}, {self._convention}, from the power meter; ≈: from the angle of the "
            f"wave plate alone. Grey: shutter closed. ≤: the shutter may be open, but no light is seen. "
            f"Struck out: the instrument does not answer.",
            size_pt=24,
            widest="≈ 888.8",
        )
        self.energy = Readout(
            "Pulse energy",
            "On the sample, from the measured power and the repetition rate",
            widest="≈ 88.88 nJ",
        )
        self.angle = Readout(
            "Plate",
            "Angle of the attenuator mount, degrees, read back",
            size_pt=12,
            widest="88.888°",
            beside=True,
        )
        self.rate = Readout(
            "Rate", "Repetition rate of the laser, Hz, from the bench file", size_pt=12, beside=True
        )
        self.rate.show_value(Shown(f"{self._rate_hz:g} Hz"))
        self.shutter = Readout(
            "Shutter",
            "From its sensor; anything but a confirmed “closed” counts as open. open?: the sensor reports "
            "open, but the spectrometer sees no light",
            widest="unknown",
        )
        pair = QVBoxLayout()
        pair.setSpacing(0)
        for small in (self.angle, self.rate):
            pair.addWidget(small)
        row.addWidget(self.fluence)
        row.addWidget(self.energy)
        row.addLayout(pair)
        row.addWidget(self.shutter)
        row.addStretch(1)
        whole.addWidget(_Sideways(values), 1)
        self.connect_button = QPushButton("Connect")
        self.connect_button.setToolTip("Connect the instruments, or make safe and release them (Ctrl+B)")
        self.connect_button.clicked.connect(self._connect_clicked)
        whole.addWidget(self.connect_button)
        self.safe = QPushButton("SAFE")
        self.safe.setObjectName("safe")
        self.safe.setToolTip("Close the shutter at once and set the lowest transmission (Esc)")
        self.safe.setFocusPolicy(Qt.FocusPolicy.NoFocus)
        self.safe.pressed.connect(self.safe_wanted)  # a press by the mouse is seen before: see safewatch
        whole.addWidget(self.safe)

    def _instruments(self, config: BenchConfig) -> QWidget:
        box = QWidget()
        box.setStyleSheet("background: transparent;")
        grid = QGridLayout(box)
        grid.setContentsMargins(0, 0, 6, 0)
        grid.setHorizontalSpacing(14)
        grid.setVerticalSpacing(1)
        for place, role in enumerate(config.roles):
            label = QLabel()
            label.setToolTip(tool_tip(f"{config.driver(role).driver} at {config.driver(role).resource}"))
            label.ensurePolished()  # on a narrow screen the model is cut, never the role
            label.setMinimumWidth(label.fontMetrics().horizontalAdvance(f"{LAMP} {NAMES[role]} "))
            self._lights[role] = label
            grid.addWidget(label, place % LAMPS_HIGH, place // LAMPS_HIGH)
            self._light(role, Shown("", "dim"))
        return box

    def _light(self, role: str, lamp: Shown) -> None:
        colour, wrong = theme.TONES[lamp.tone], lamp.tone == "danger"
        text = f"<span style='color:{colour}'>{LAMP}</span> {NAMES[role]}"
        if lamp.text:
            beside = colour if wrong else theme.DIM
            text += f" <span style='color:{beside}; font-size:9pt'>{rich(lamp.text)}</span>"
        self._lights[role].setText(text)

    def show_link(self, link: Link) -> None:
        """Show how the bench is connected."""
        self._link = link
        failed = {f.role: f for f in link.failures}
        for role, label in self._lights.items():
            if role in failed:
                why = f"{failed[role].resource}: {failed[role].reason}. Try: {failed[role].hint}"
                label.setToolTip(tool_tip(why))
            elif role in link.identities:
                label.setToolTip(tool_tip(link.identities.get(role, "")))
        self._show_lights(Seen())
        self.connect_button.setText(
            {"connected": "Disconnect", "connecting": "Connecting…"}.get(link.state, "Connect")
        )
        self.connect_button.setEnabled(link.state != "connecting")

    def show_config(self, config: BenchConfig) -> None:
        """Show another bench file."""
        self.rate.show_value(Shown(f"{config.pump.repetition_rate_hz:g} Hz"))

    def show_seen(self, seen: Seen) -> None:
        """Show the last values, and who answers."""
        self.fluence.show_value(benchstate.fluence(seen))
        self.energy.show_value(benchstate.pulse_energy(seen))
        self.angle.show_value(benchstate.angle(seen))
        self.shutter.show_value(benchstate.shutter(seen))
        if (seen.lost, seen.doubtful) != self._troubles:
            self._show_lights(seen)

    def _show_lights(self, seen: Seen) -> None:
        self._troubles = (seen.lost, seen.doubtful)
        failed = [f.role for f in self._link.failures]
        for role, label in self._lights.items():
            who = _short(str(self._link.identities.get(role, "")))
            self._light(role, benchstate.lamp(role, self._link.state, seen, failed, who))
            if role in seen.lost:
                label.setToolTip(tool_tip(seen.lost[role]))

    @property
    def _connected(self) -> bool:
        return self._link.state == "connected"

    def _connect_clicked(self) -> None:
        (self.disconnect_wanted if self._connected else self.connect_wanted).emit()
