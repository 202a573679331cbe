"""Colours and sizes, to be read from two metres: dark for a dark room with goggles on, light for a lit one.

``theme.TEXT`` and the others are those of the palette in use. Who reads them keeps them, so a palette is
chosen before the first widget is made.
"""

from __future__ import annotations

from typing import Any

import pyqtgraph as pg
from PySide6.QtGui import QColor, QPalette
from PySide6.QtWidgets import QApplication

THEME, TEXT_SIZE = "window/theme", "window/text_size"
"""What is remembered of the look; it holds from the next start."""
THEMES, TEXT_SIZES = ("dark", "light"), ("100", "125", "150", "175")
BACKGROUND = "#0f1216"
PANEL = "#171b21"
RAISED = "#222831"
LINE = "#39424e"
TEXT = "#e8ecf1"
DIM = "#93a0b0"
ACCENT = "#4cc9f0"
FIT = "#ff9f5a"
THRESHOLD = "#ffd166"
WIDTH = "#7bd88f"
WARN = "#ffb000"
DANGER = "#e5383b"
GOOD = "#52b788"
WRONG = "#ff6b6d"
"""A word that says that something is wrong."""
EXCLUDED = "#6b7684"
EMISSION_BAND = "#4cc9f0"
LASING_BAND = "#ff6b9d"
FIELD = "#0b0d10"
FACE = "#08090b"
"""Ground of the digits of the alignment."""
CHOSEN = "#1c4656"
"""Ground of what is switched on or selected."""
GO = "#175c40"
OFF = "#5b6673"
CHUNK = "#1f6f8b"
WRONG_GROUND = "#5c1a1d"
WRONG_TEXT = "#ffd7d8"
ASK_GROUND = "#2a2312"
"""Ground of a question."""
RUNS = ("#4cc9f0", "#ff6b9d", "#b9e769", "#a66bff", "#ffd166", "#ff9f5a", "#7bd88f", "#9fb4ff")
"""One colour for each run that is compared, told apart by people who confuse red and green too."""


def _tones() -> dict[str, str]:
    return {"plain": TEXT, "dim": DIM, "good": GOOD, "warn": WARN, "light": THRESHOLD, "danger": WRONG}


TONES = _tones()
"""Colour of a word by its meaning."""
STATES = {
    "plain": ("#1b4f72", "#ffffff"),
    "dim": ("#2a313b", "#c3ccd7"),
    "good": ("#17603f", "#ffffff"),
    "warn": ("#6b4c00", "#ffe9b8"),
    "light": ("#ffb000", "#000000"),
    "danger": ("#b3161b", "#ffffff"),
}
"""Ground and text of what fills a strip, by its meaning. Only light on is bright: grey values tell it too."""
_LIGHT: dict[str, object] = {
    "BACKGROUND": "#e9edf2",
    "PANEL": "#ffffff",
    "RAISED": "#dfe5ec",
    "LINE": "#8e9aa8",
    "TEXT": "#12161b",
    "DIM": "#4b5663",
    "ACCENT": "#0b6a9c",
    "FIT": "#b84a00",
    "THRESHOLD": "#7a4f00",
    "WIDTH": "#1a6e2e",
    "WARN": "#8a5000",
    "DANGER": "#c1121f",
    "GOOD": "#17693f",
    "WRONG": "#b3161b",
    "EXCLUDED": "#6f7a86",
    "EMISSION_BAND": "#0b6a9c",
    "LASING_BAND": "#c2185b",
    "FIELD": "#ffffff",
    "FACE": "#ffffff",
    "CHOSEN": "#bfdff0",
    "GO": "#17693f",
    "OFF": "#88929d",
    "CHUNK": "#9fd0e6",
    "WRONG_GROUND": "#fde2e3",
    "WRONG_TEXT": "#8f1014",
    "ASK_GROUND": "#fff1cc",
    "RUNS": ("#0072b2", "#c2185b", "#5a7d00", "#7b3fbf", "#8a5a00", "#c4560a", "#1d7a34", "#3f51b5"),
}
_DARK = {name: globals()[name] for name in _LIGHT}
PALETTES = {"dark": _DARK, "light": _LIGHT}


def use(name: str) -> None:
    """Choose a palette for the widgets that are made from now on.

    :param name: "dark" or "light"; another one is taken for dark.
    """
    globals().update(PALETTES.get(name, _DARK))
    TONES.update(_tones())


def _style() -> str:
    return f"""
* {{ font-size: 11pt; }}
QWidget {{ color: {TEXT}; background: {BACKGROUND}; }}
QToolTip {{ color: {TEXT}; background: {RAISED}; border: 1px solid {LINE}; padding: 4px; }}
QMainWindow::separator {{ background: {LINE}; width: 3px; height: 3px; }}
QSplitter::handle {{ background: {PANEL}; }}
QGroupBox {{ background: {PANEL}; border: 1px solid {LINE}; border-radius: 6px; margin-top: 16px;
    padding: 8px 6px 6px 6px; }}
QGroupBox::title {{ subcontrol-origin: margin; left: 10px; padding: 0 4px; color: {DIM};
    background: transparent; }}
QGroupBox > QWidget, QGroupBox QLabel, QGroupBox QCheckBox {{ background: {PANEL}; }}
QLabel, QCheckBox {{ background: transparent; }}
QCheckBox::indicator {{ width: 15px; height: 15px; border: 1px solid {DIM}; border-radius: 3px;
    background: {FIELD}; }}
QCheckBox::indicator:checked {{ background: {ACCENT}; border-color: {ACCENT}; }}
QCheckBox::indicator:disabled {{ border-color: {LINE}; }}
QPushButton, QToolButton {{ background: {RAISED}; border: 1px solid {LINE}; border-radius: 5px;
    padding: 5px 11px; }}
QToolButton#show {{ border-radius: 11px; padding: 2px 8px; font-size: 10pt; background: transparent; }}
QToolButton#show:checked {{ background: {CHOSEN}; border-color: {ACCENT}; }}
QToolButton#tool, QComboBox#tool {{ padding: 2px 8px; font-size: 10pt; }}
QToolButton#act {{ padding: 2px 8px; font-size: 10pt; font-weight: 600; border: 2px solid {DIM}; }}
QFileDialog QToolButton {{ padding: 3px; }}
QPushButton:hover, QToolButton:hover {{ border-color: {ACCENT}; }}
QPushButton:pressed, QToolButton:pressed, QPushButton:checked, QToolButton:checked {{ background: {CHOSEN};
    border-color: {ACCENT}; }}
QPushButton:disabled, QToolButton:disabled {{ color: {OFF}; border-color: {RAISED}; }}
QPushButton#safe {{ background: {DANGER}; color: white; font-size: 22pt; font-weight: 800;
    border: 2px solid #ff8a8c;
    border-radius: 10px; padding: 8px 30px; letter-spacing: 3px; }}
QPushButton#safe:hover {{ background: #ff4d4f; }}
QPushButton#safe:pressed {{ background: #8f1d1f; }}
QPushButton#go {{ background: {GO}; color: white; border-color: {GOOD}; font-weight: 600; }}
QPushButton#stop {{ background: {RAISED}; border: 2px solid {WARN}; font-weight: 600; }}
QPushButton#go:disabled {{ background: {RAISED}; color: {OFF}; border-color: {RAISED}; }}
QLineEdit, QSpinBox, QDoubleSpinBox, QComboBox, QPlainTextEdit, QListWidget, QTreeWidget, QTableWidget {{
    background: {FIELD}; border: 1px solid {LINE}; border-radius: 4px; padding: 4px 6px;
    selection-background-color: {CHOSEN}; selection-color: {TEXT}; }}
QLineEdit:focus, QComboBox:focus, QSpinBox:focus, QCheckBox::indicator:focus, QTreeWidget:focus,
QListWidget:focus, QTextBrowser:focus {{ border-color: {ACCENT}; }}
QPushButton:focus, QToolButton:focus, QTabBar:focus {{ border: 2px solid {ACCENT}; }}
QCheckBox:focus {{ border: 1px solid {ACCENT}; border-radius: 3px; }}
QTextBrowser {{ background: {PANEL}; border: 1px solid {LINE}; }}
QLineEdit[wrong="true"] {{ border: 2px solid {DANGER}; }}
QLabel[role="wrong"] {{ color: {WRONG}; font-size: 10pt; }}
QLabel[role="refusal"] {{ background: {WRONG_GROUND}; color: {WRONG_TEXT}; border: 1px solid {DANGER};
    border-radius: 4px; padding: 3px 6px; font-size: 10pt; }}
QLabel[role="note"] {{ background: {RAISED}; color: {TEXT}; border: 1px solid {ACCENT}; border-radius: 4px;
    padding: 3px 6px; font-size: 10pt; }}
QLabel[role="dim"] {{ color: {DIM}; font-size: 10pt; }}
QLabel[role="value"] {{ font-size: 15pt; font-weight: 600; }}
QLabel[role="big"] {{ font-size: 26pt; font-weight: 700; }}
QComboBox QAbstractItemView {{ background: {RAISED}; border: 1px solid {LINE}; }}
QTabWidget::pane {{ border: 0; }}
QTabBar {{ qproperty-drawBase: 0; }}
QTabBar::tab {{ background: {PANEL}; color: {DIM}; padding: 8px 18px; border: 1px solid {LINE};
    border-bottom: 0;
    border-top-left-radius: 6px; border-top-right-radius: 6px; margin-right: 2px; }}
QTabBar::tab:selected {{ background: {RAISED}; color: {TEXT}; border-bottom: 2px solid {ACCENT}; }}
QHeaderView::section {{ background: {PANEL}; color: {DIM}; border: 0; border-right: 1px solid {LINE};
    padding: 4px 6px; }}
QProgressBar {{ background: {FIELD}; border: 1px solid {LINE}; border-radius: 4px; text-align: center;
    min-height: 18px; }}
QProgressBar::chunk {{ background: {CHUNK}; border-radius: 3px; }}
QMenuBar {{ background: {PANEL}; }}
QMenuBar::item:selected, QMenu::item:selected {{ background: {CHOSEN}; }}
QMenu {{ background: {RAISED}; border: 1px solid {LINE}; }}
QStatusBar {{ background: {PANEL}; color: {DIM}; }}
QStatusBar::item {{ border: 0; }}
QToolBar {{ border: 0; padding: 0; spacing: 0; background: {PANEL}; }}
QDockWidget {{ color: {DIM}; }}
QDockWidget::title {{ background: {PANEL}; padding: 6px; }}
QScrollArea {{ border: 0; }}
QScrollBar:vertical {{ background: {BACKGROUND}; width: 12px; }}
QScrollBar::handle:vertical {{ background: {LINE}; border-radius: 5px; min-height: 24px; }}
QScrollBar:horizontal {{ background: {BACKGROUND}; height: 12px; }}
QScrollBar::handle:horizontal {{ background: {LINE}; border-radius: 5px; min-width: 24px; }}
QScrollBar::add-line, QScrollBar::sub-line {{ height: 0; width: 0; }}
"""


def apply_theme(application: QApplication) -> None:
    """Give the application the look of the palette in use; call it before any widget is made."""
    application.setStyle("Fusion")
    palette = QPalette()
    roles = {
        QPalette.ColorRole.Window: BACKGROUND,
        QPalette.ColorRole.WindowText: TEXT,
        QPalette.ColorRole.Base: FIELD,
        QPalette.ColorRole.AlternateBase: PANEL,
        QPalette.ColorRole.Text: TEXT,
        QPalette.ColorRole.Button: RAISED,
        QPalette.ColorRole.ButtonText: TEXT,
        QPalette.ColorRole.Highlight: CHOSEN,
        QPalette.ColorRole.HighlightedText: TEXT,
        QPalette.ColorRole.ToolTipBase: RAISED,
        QPalette.ColorRole.ToolTipText: TEXT,
        QPalette.ColorRole.PlaceholderText: DIM,
        QPalette.ColorRole.Link: ACCENT,
    }
    for role, colour in roles.items():
        palette.setColor(role, QColor(colour))
    application.setPalette(palette)
    application.setStyleSheet(_style())
    pg.setConfigOptions(
        antialias=False, imageAxisOrder="row-major", useOpenGL=False, background=PANEL, foreground=TEXT
    )


def free_colour(taken: set[str]) -> str:
    """Return a run's colour that is not taken, if there is one left."""
    return next((colour for colour in RUNS if colour not in taken), RUNS[len(taken) % len(RUNS)])


def pen(colour: str, *, dashed: bool = False, alpha: int = 255, width: int = 1) -> Any:
    """Return a pen of one pixel: a wider one costs two and a half times as much (measured)."""
    made = QColor(colour)
    made.setAlpha(alpha)
    style = pg.QtCore.Qt.PenStyle.DashLine if dashed else pg.QtCore.Qt.PenStyle.SolidLine
    return pg.mkPen(made, width=width, style=style)


def brush(colour: str, alpha: int = 255) -> Any:
    """Return a fill."""
    made = QColor(colour)
    made.setAlpha(alpha)
    return pg.mkBrush(made)
