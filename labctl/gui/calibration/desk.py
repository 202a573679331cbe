"""Between the calibration page and the bench: what it hears, and a bench file that names a result."""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path
from typing import Protocol

from PySide6.QtCore import QObject, Signal

from labctl.config import BenchConfig, load_bench
from labctl.config.benchfile import bench_line, use_calibration
from labctl.gui.calibration.page import CalibratePage
from labctl.model.calibration import CalibrationKind
from labctl.model.errors import LabctlError
from labctl.model.operator import Request
from labctl.service.asking import Asked, Withdrawn
from labctl.service.messages import CalEnded, CalTold, Connect, Disconnect, HandTold
from labctl.service.service import BenchService


class TakesConfig(Protocol):
    """What shows values of the bench file."""

    def show_config(self, config: BenchConfig) -> None:
        """Show another bench file."""


class CalibrateDesk(QObject):
    """The page and its wiring.

    :param file: the bench file, None where there is none to write into.
    :param output: where calibrations go without a bench file.
    :param say: shows one line; True for a wrong one.
    :ivar changed: whether something else may use the bench has changed.
    """

    changed = Signal()

    def __init__(
        self,
        config: BenchConfig,
        service: BenchService,
        file: Path | None,
        output: Path,
        say: Callable[[str, bool], None],
    ) -> None:
        super().__init__()
        self._service, self._file, self._say = service, file, say
        self.shown: tuple[TakesConfig, ...] = ()
        folder = (output if file is None else file.parent) / "calibrations"
        self.page = CalibratePage(config, service.post, service.abort, service.asking.answer, folder)
        self.page.use_wanted.connect(self._use)
        self.page.blocking_changed.connect(self.changed)

    @property
    def blocking(self) -> bool:
        """Whether nothing else may use the bench."""
        return self.page.blocking

    def take(self, thing: object) -> bool:
        """Show one thing of a calibration; return whether it was one."""
        page = self.page
        if isinstance(thing, Asked) and isinstance(thing.what, Request):
            page.prompt.ask(thing)
        elif isinstance(thing, Withdrawn) and thing.number == page.prompt.waiting:
            page.prompt.withdraw(thing)
        elif isinstance(thing, HandTold):
            page.prompt.show_hand(thing)
        elif isinstance(thing, CalTold):
            page.take(thing)
        elif isinstance(thing, CalEnded):
            page.ended(thing)
            if thing.status != "stored":
                self._say(f"calibration {thing.status}: {thing.message}", thing.status == "failed")
            self.changed.emit()
        else:
            return False
        return True

    def lost(self, message: str) -> None:
        """The bench is not connected any more."""
        if self.page.running is not None:
            self.page.ended(CalEnded(self.page.running, "failed", message or "disconnected"))

    def _use(self, kind: CalibrationKind, path: Path) -> None:
        """Name a calibration in the bench file, and connect anew with what it then says."""
        if self._file is None:
            self._say(f"write under [calibrations]: {bench_line(kind, path, path)}", False)
            return
        try:
            use_calibration(self._file, kind, path)
            config = load_bench(self._file)
        except LabctlError as exc:
            self._say(str(exc), True)
            return
        self.page.used()
        self.page.set_enabled(False)  # until it is connected anew
        for shown in (self.page, *self.shown):
            shown.show_config(config)
        self._service.post(Disconnect())
        self._service.post(Connect(config))
        self._say(f"named in {self._file}: connecting anew", False)
