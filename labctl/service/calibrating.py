"""Calibrations on a bench that the window has open: the terminal's procedures, with hands at the window.

What hands have moved is remembered: where a calibration ends early, the window says what to put back.
"""

from __future__ import annotations

import threading
from collections.abc import Callable
from contextlib import suppress
from dataclasses import replace
from typing import Literal

from labctl.model.clock import Stop
from labctl.model.errors import (
    Aborted,
    CalibrationRefused,
    ConfigError,
    InstrumentError,
    LabctlError,
    is_noticed_stop,
)
from labctl.model.operator import Operator, Request
from labctl.runner.calibrate import run_calibration
from labctl.service.asking import Asking
from labctl.service.messages import Busy, CalEnded, Calibrate, CalTold, HandTold, Said
from labctl.service.runs import Room
from labctl.session.operator import SimulatedOperator
from procedures.calibration.attenuator import recheck_attenuator

HOME: tuple[Request, ...] = (
    Request("knife", "take the blade out of the beam", {"position_um": None}),
    Request("filter", "take the filter away", {"name": "", "transmission": 1.0}),
    Request("lamp", "take the lamp away", {"name": ""}),
    Request("meter", "put the sensor back to the pick-off", {"place": "pick-off"}),
    Request("sample", "put the sample back", {"in": True}),
    Request("beam", "free the pump", {"blocked": False}),
)
"""How everything stands for a sweep; what a calibration has moved away from it is put back in this order."""


class Refusal:
    """The answer of somebody who will not do it."""


class WindowOperator:
    """Whoever stands at the window, or the simulated bench's own hands, which are shown.

    :param simulated: hands of a simulated bench, None at a real one.
    :param by_hand: set while the person answers all the same.
    """

    def __init__(
        self,
        asking: Asking,
        tell: Callable[[object], None],
        simulated: Operator | None,
        by_hand: threading.Event,
    ) -> None:
        self._asking, self._tell = asking, tell
        self._simulated, self._by_hand = simulated, by_hand
        self._moved: dict[str, Request] = {}

    def do(self, request: Request, stop: Stop | None = None) -> float | None:
        """Return once it is done.

        :raises Aborted: it was refused, or ``stop`` was set meanwhile.
        """
        number: float | None = None
        if self._simulated is None or self._by_hand.is_set():
            answer = self._asking.ask(request, stop)
            if isinstance(answer, Refusal):
                raise Aborted
            if isinstance(answer, (int, float)) and not isinstance(answer, bool):
                number = float(answer)
            if self._simulated is not None:
                self._simulated.do(_as_read(request, number), stop)
        else:
            self._tell(HandTold(request))
            number = self._simulated.do(request, stop)
            self._tell(HandTold(request, done=True))
        self._moved[request.action] = request
        return number if request.number else None

    def put_back(self) -> tuple[str, ...]:
        """Have the simulated bench put everything back; return what a person has to, in words."""
        left = [home for home in HOME if _is_away(self._moved.get(home.action), home)]
        return tuple(home.text for home in left if not self._put_back(home))

    def _put_back(self, home: Request) -> bool:
        """Have one thing put back; return whether nobody has to be told."""
        if self._simulated is None:
            return False
        try:
            self._simulated.do(home)  # whoever practises on a simulated bench cannot do it
        except LabctlError:
            return False
        return not self._by_hand.is_set()


def _as_read(request: Request, number: float | None) -> Request:
    """Return a request for what a person says was done, so that the simulated bench does the same."""
    if number is None or "position_um" not in request.values:
        return request
    return replace(request, values={**request.values, "position_um": number})


def _is_away(last: Request | None, home: Request) -> bool:
    """Whether what was asked for last left a thing elsewhere than at home."""
    if last is None:
        return False
    key = next(iter(home.values))
    return last.values.get(key) != home.values[key]


def run_calibrating(room: Room, command: Calibrate) -> None:
    """Measure; how it ended is told, and never raised, unless the bench must be opened anew.

    :raises InstrumentError: an instrument failed.
    """
    address = room.bench.config.bench.hand
    operator = WindowOperator(
        room.asking, room.tell, SimulatedOperator(address) if address else None, command.by_hand
    )
    failure: BaseException | None = None
    try:
        calibration, path = run_calibration(
            room.bench.config,
            command.kind,
            command.options,
            operator=operator,
            stop=room.stop,
            on_event=lambda event: room.tell(CalTold(event)),
            clock=room.bench.roles.clock,
            output=command.output,
            bench=room.bench,
        )
    except (Aborted, LabctlError) as exc:
        failure = exc
    if failure is None:
        room.tell(CalEnded(command.kind, "stored", "", calibration, path))
        return
    status, message = _ended(failure, room.stop)
    room.tell(CalEnded(command.kind, status, message, left=operator.put_back()))
    if isinstance(failure, InstrumentError) and status == "failed":
        raise failure


def recheck(room: Room) -> None:
    """Compare the attenuator with its calibration, and say what was found.

    :raises LabctlError: an instrument failed, or the bench file names no calibration of it.
    """
    bench = room.bench
    named = bench.config.calibrations.attenuator if bench.config.calibrations else None
    if named is None:
        raise ConfigError("the bench file names no calibration of the attenuator", hint="measure one first")
    room.tell(Busy("re-checking the attenuator"))
    try:
        found = recheck_attenuator(
            named.calibration, bench.roles, bench.pump.settings, bench.pump.limits, stop=room.stop
        )
        bench.pump.adopt(found.dark_deg, "", "")
    finally:
        with suppress(LabctlError):
            bench.pump.safe()
    room.tell(Said("; ".join((found.text, *found.warnings)), wrong=bool(found.warnings)))


def _ended(
    failure: BaseException, stop: threading.Event
) -> tuple[Literal["refused", "aborted", "failed"], str]:
    """Say how it ended; SAFE closes the shutter, which a reading may notice before the stop."""
    if isinstance(failure, Aborted) or is_noticed_stop(failure, stop.is_set()):
        return "aborted", "stopped: nothing was stored"
    notes = [note for note in getattr(failure, "__notes__", ()) if not note.startswith("log: ")]
    message = "; ".join([str(failure) or type(failure).__name__, *notes])
    return ("refused" if isinstance(failure, CalibrationRefused) else "failed"), message
