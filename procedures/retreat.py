"""The way back into the dark, whatever has failed: shutter first, then the least light that can be had."""

from __future__ import annotations

import logging
from collections.abc import Callable, Iterator
from contextlib import contextmanager

from labctl.model.errors import SafetyStop
from procedures.curve import Curve
from procedures.light import Blade
from procedures.plate import Plate
from procedures.safe import held_back, make_safe

log = logging.getLogger(__name__)


class Retreat:
    """Makes a pump safe.

    :param move: turns the plate and accounts for the light on the way.
    :param forget: called first: nothing that was verified holds any more.
    """

    def __init__(
        self,
        blade: Blade,
        plate: Plate,
        curve: Curve,
        move: Callable[[float], None],
        forget: Callable[[], None],
    ) -> None:
        self._blade, self._plate, self._curve = blade, plate, curve
        self._move, self._forget = move, forget

    def safe(self) -> list[Exception]:
        """Close the shutter, then drop the attenuator; tries both, never raises, returns what failed.

        A shutter that did not close is tried once more when there is least light.
        """
        with held_back():
            self._forget()
            if not (failures := make_safe(self._blade.close)):
                return make_safe(self._drop)
            dropped = make_safe(self._drop)
            return [*(failures if make_safe(self._blade.close) else []), *dropped]

    @contextmanager
    def guarded(self, *but: type[BaseException]) -> Iterator[None]:
        """Close the shutter whatever went wrong, an abort included, before anybody hears of it.

        Where it is the shutter that failed, the attenuator goes to its minimum first.

        :param but: errors that change nothing.
        """
        try:
            yield
        except but:
            raise
        except BaseException as exc:
            with held_back():
                self._forget()
                if self._blade.is_meant(exc) or make_safe(self._blade.close):
                    make_safe(self._drop, self._blade.close)
            raise

    def _drop(self) -> None:
        """Least light; should the shutter be stuck open, by a way that crosses no maximum."""
        if not self._plate.is_referenced():
            if self._blade.lit:
                raise SafetyStop("the attenuator is not referenced and stays where it is")
            log.info("the attenuator is not referenced and stays where it is, behind the closed shutter")
            return
        here = self._plate.angle_deg()
        self._move(self._curve.dark_end_deg(here) if self._blade.lit else self._curve.floor_deg)
