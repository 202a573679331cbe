"""Runs one calibration from the first connection to the stored file; of a refused one nothing is stored."""

from __future__ import annotations

import logging
import tempfile
from collections.abc import Callable, Iterator, Mapping
from contextlib import AbstractContextManager, closing, contextmanager
from dataclasses import replace
from pathlib import Path

from labctl import __version__
from labctl.config import BenchConfig
from labctl.data.calibrations import write_calibration
from labctl.model.calibration import Calibration, CalibrationKind
from labctl.model.clock import Clock, Stop, check_stop
from labctl.model.errors import ConfigError, DataError
from labctl.model.roles import Operator, Roles
from labctl.runner.events import Connected, Message
from labctl.session import Bench, open_bench
from labctl.session.bench import over_said
from labctl.session.opening import remarks_on_identity
from procedures.calibration import OPTIONS, PROCEDURES, CalContext, CalOptions, CalProcedure, CalStep
from procedures.gate.hooks import HookedSpectrometer, Hooks
from procedures.gate.safe_state import made_safe

log = logging.getLogger(__name__)

CalEvent = Connected | Message | CalStep
OnCalEvent = Callable[[CalEvent], None]


def run_calibration(
    config: BenchConfig,
    kind: CalibrationKind,
    options: CalOptions | None = None,
    *,
    operator: Operator,
    stop: Stop | None,
    on_event: OnCalEvent,
    clock: Clock | None = None,
    output: Path,
    bench: Bench | None = None,
    procedures: Mapping[CalibrationKind, CalProcedure] = PROCEDURES,
) -> tuple[Calibration, Path]:
    """Measure a part of the bench and store what was found; the bench is safe afterwards in any case.

    :param options: one of ``procedures.calibration.OPTIONS[kind]``; its defaults if left out.
    :param operator: does what no motor does.
    :param stop: looked at between readings and in every wait.
    :param on_event: called in this thread, in order: who answered, remarks, and every reading.
    :param output: directory of the file; it is made, and tried, before anything is measured.
    :param bench: one that is open: it is used, made safe and left open.
    :returns: the calibration and its file.
    :raises CalibrationRefused: the measurement cannot make one; nothing is stored.
    :raises Aborted: ``stop`` was set; nothing is stored.
    :raises DataError: the file cannot be written.
    :raises NotMadeSafe: it is stored, and the light could not be confirmed to be off.
    :raises LabctlError: the bench cannot be opened, or an instrument failed.
    """
    if kind not in procedures:
        raise ConfigError(f"invalid kind {kind!r}; choose {', '.join(procedures)}", key="kind")
    options = OPTIONS[kind]() if options is None else options
    _try_to_write(output)
    with _opened(config, clock, stop, bench, on_event) as ready:
        on_event(Connected({role: str(who) for role, who in ready.identities.items()}))
        for remark in remarks_on_identity(config, ready.identities):
            if remark.kind != kind:
                on_event(Message(f"warning: {remark}"))
        context = CalContext(
            roles=_own(ready),
            settings=ready.pump.settings,
            limits=ready.pump.limits,
            operator=operator,
            options=options,
            identities={str(role): who for role, who in ready.identities.items()},
            bands=ready.bands,
            stop=stop,
            version=__version__,
            tell=lambda line: on_event(Message(line)),
        )
        try:
            calibration = _measured(procedures[kind], context, stop, on_event)
        finally:
            course = context.course
            ready.pump.adopt(course.dark_deg, course.confirmed, course.lie)
        path = write_calibration(calibration, output)
    log.info("the calibration is stored in %s", path)
    return calibration, path


def _measured(
    procedure: CalProcedure, context: CalContext, stop: Stop | None, on_event: OnCalEvent
) -> Calibration:
    """Go through a procedure to its end; closing it makes the bench safe."""
    with closing(procedure(context)) as steps:
        while True:
            check_stop(stop)
            try:
                step = next(steps)
            except StopIteration as end:
                found: Calibration = end.value
                return found
            on_event(step)


def _opened(
    config: BenchConfig, clock: Clock | None, stop: Stop | None, bench: Bench | None, on_event: OnCalEvent
) -> AbstractContextManager[Bench]:
    def tell(line: str) -> None:
        on_event(Message(line))

    if bench is not None:
        return _lent(bench, tell)
    return open_bench(config, clock, stop, calibrations="ignore", tell=tell, over=tell)


@contextmanager
def _lent(bench: Bench, tell: Callable[[str], None]) -> Iterator[Bench]:
    """Use a bench that is open, leave the light off, and say by what that was confirmed.

    :raises NotMadeSafe: it could not be, after a good end or a stop.
    """
    with over_said(bench.pump, tell), made_safe(lambda: bench.pump.safe().failures, tell):
        yield bench


def _own(bench: Bench) -> Roles:
    """Return the instruments, the spectrometer with what it says of itself."""
    if bench.own_info is None:
        return bench.roles
    own = HookedSpectrometer(bench.roles.spectrometer, Hooks(), bench.own_info)
    return replace(bench.roles, spectrometer=own)


def _try_to_write(directory: Path) -> None:
    """Find out that nothing can be stored before somebody measures for half an hour."""
    try:
        directory.mkdir(parents=True, exist_ok=True)
        with tempfile.TemporaryFile(dir=directory):
            pass
    except OSError as exc:
        raise DataError(f"{directory}: cannot be written: {exc.strerror or exc}") from exc
