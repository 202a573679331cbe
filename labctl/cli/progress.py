"""A running sweep as the terminal shows it: a live table, or plain lines where stderr is no terminal."""

from __future__ import annotations

import contextlib
import sys
from types import TracebackType
from typing import TYPE_CHECKING, Any, Protocol, Self

from labctl.cli.output import make_console, write_lines
from labctl.model.records import SweepPoint
from labctl.model.untrusted import printable
from labctl.runner.events import Connected, Evaluated, Event, Measured, Message, Moved, Started
from labctl.runner.meaning import flag_lines
from labctl.runner.report import headline_of
from labctl.runner.wording import duration

if TYPE_CHECKING:
    from rich.console import Group


class Progress(Protocol):
    """Shows events until it is left; never raises because a terminal went away."""

    def __enter__(self) -> Self: ...

    def __exit__(
        self, kind: type[BaseException] | None, exc: BaseException | None, trace: TracebackType | None
    ) -> None: ...

    def __call__(self, event: Event) -> None:
        """Show one event."""


def make_progress() -> Progress:
    """Choose by what stderr is; stdout belongs to the result."""
    return LiveProgress() if sys.stderr.isatty() else LineProgress()


class LineProgress:
    """One line an event on stderr, for logs and pipes."""

    def __init__(self) -> None:
        self._threshold = ""
        self._told: set[str] = set()

    def __enter__(self) -> Self:
        return self

    def __exit__(
        self, kind: type[BaseException] | None, exc: BaseException | None, trace: TracebackType | None
    ) -> None:
        """Nothing to put back."""

    def __call__(self, event: Event) -> None:
        """Print one event."""
        line = self._line(event)
        if line:
            with contextlib.suppress(OSError, ValueError):
                write_lines([line], sys.stderr)

    def _line(self, event: Event) -> str:
        if isinstance(event, Evaluated):
            # It was fitted while the next point was measured: a number of points beside that one would lag.
            refused = event.result.threshold.status == "refused"
            self._threshold = "not yet" if refused else threshold_text(event)
            new = [line for line in flag_texts(event) if line not in self._told]
            self._told.update(new)
            return "\n".join(new)
        if isinstance(event, Measured):
            shown = "; ".join(f"{name} {text}" for name, text in point_texts(event.point))
            said = self._threshold
            if said:  # some sentences name the threshold themselves
                said = f"; {said}" if "threshold" in said else f"; threshold {said}"
            return f"{event.number}/{event.total}: {shown}{said}; {left_text(event.left_s)}"
        if isinstance(event, Started):
            self._threshold, self._told = "", set()
        return headline(event)


class LiveProgress:
    """Bar, time left and the current values, redrawn in place."""

    def __init__(self) -> None:
        from rich.live import Live
        from rich.progress import BarColumn, MofNCompleteColumn, TextColumn
        from rich.progress import Progress as Bar

        self._bar = Bar(
            TextColumn("{task.description}", markup=False),
            BarColumn(),
            MofNCompleteColumn(),
            TextColumn("{task.fields[left]}", markup=False),
        )
        self._task = self._bar.add_task("connecting", total=None, left="")
        self._point: SweepPoint | None = None
        self._threshold = "waiting for points"
        self._flags: tuple[str, ...] = ()
        self._console = make_console(stderr=True)
        quiet: Any = {"redirect_stdout": False, "redirect_stderr": False}
        self._live = Live(console=self._console, refresh_per_second=8, transient=True, **quiet)

    def __enter__(self) -> Self:
        self._live.start()
        return self

    def __exit__(
        self, kind: type[BaseException] | None, exc: BaseException | None, trace: TracebackType | None
    ) -> None:
        """Give the terminal back."""
        with contextlib.suppress(OSError, ValueError):
            self._live.stop()

    def __call__(self, event: Event) -> None:
        """Redraw with one event."""
        with contextlib.suppress(OSError, ValueError):
            self._take(event)
            self._live.update(self._picture())

    def _take(self, event: Event) -> None:
        if isinstance(event, Measured):
            self._point = event.point
            self._bar.update(self._task, completed=event.number, left=left_text(event.left_s))
        elif isinstance(event, Evaluated):
            self._threshold, self._flags = threshold_text(event), flag_texts(event)
        else:
            if isinstance(event, Started):
                self._point, self._threshold, self._flags = None, "waiting for points", ()
                self._bar.reset(self._task, description=printable(event.sample), total=event.total, left="")
            self._console.print(headline(event), style="dim")

    def _picture(self) -> Group:
        from rich.console import Group
        from rich.table import Table

        values = Table.grid(padding=(0, 2))
        for name, text in point_texts(self._point) if self._point else ():
            values.add_row(name, text)
        values.add_row("threshold", self._threshold)
        for sentence in self._flags:
            values.add_row("", sentence)
        return Group(self._bar, values)


def headline(event: Event) -> str:
    """Return the line that announces an event which is no point."""
    if isinstance(event, Connected):
        return "connected: " + ", ".join(f"{role} {who}" for role, who in event.identities.items())
    if isinstance(event, Started):
        return f"{event.sample}: {event.total} points into {event.files.h5} (log {event.files.log})"
    return event.text if isinstance(event, Message | Moved) else ""


def point_texts(point: SweepPoint) -> tuple[tuple[str, str], ...]:
    """Return name and value of everything a point shows, with units."""
    clipped = point.saturated_exposures >= point.exposures > 0
    width = "clipped" if clipped else "none" if point.fwhm_nm is None else f"{point.fwhm_nm:.2f} nm"
    saturation = f"{100 * point.saturation:.0f} %"
    if point.saturated_exposures:
        left_out = "all" if clipped else str(point.saturated_exposures)
        saturation += f", {left_out} exposures saturated{', left out' if clipped else ' and left out'}"
    texts = [
        ("fluence", f"{point.fluence_uj_cm2:.4g} uJ/cm2"),
        ("pulse energy", f"{point.pulse_energy_j * 1e9:.4g} nJ"),
        ("emission", f"{point.signal:.5g} counts per pulse"),
        ("FWHM", width),
        ("saturation", saturation),
    ]
    if point.flags:
        texts.append(("flags", ", ".join(point.flags)))
    return tuple(texts)


def threshold_text(live: Evaluated) -> str:
    """Return the running threshold with its interval, or why there is none yet."""
    points, found = "1 point" if live.points == 1 else f"{live.points} points", live.result.threshold
    if found.status == "refused":
        return f"not yet ({points})"
    if found.threshold_uj_cm2 is None:
        return f"{found.reason or found.status.replace('_', ' ')} ({points})"
    headline = headline_of(live.result)
    interval = f" (95 %: {found.ci95[0]:.4g} to {found.ci95[1]:.4g})" if found.ci95 else ""
    return f"{found.threshold_uj_cm2:.4g} uJ/cm2{interval}{', provisional' if found.provisional else ''}" + (
        f"; {headline}" if headline else ""
    )


def flag_texts(live: Evaluated) -> tuple[str, ...]:
    """Return what the flags of the running result mean, as far as :func:`threshold_text` does not say it."""
    found = live.result.threshold
    if found.status == "refused":
        return ()
    return flag_lines(live.result, reason=threshold_text(live))


def left_text(seconds: float) -> str:
    """Return the time left as people say it."""
    return f"{duration(seconds)} left"
