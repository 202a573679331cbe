"""Procedures in pymeasure's own ManagedWindow: labctl's sweep, and one of your own.

labctl simulate --speed 20 --bench-file sim.toml      in one terminal, or a bench.toml of your own
python managed_window.py sim.toml                     in another: the fluence sweep
python managed_window.py sim.toml flicker             the procedure written here
"""

import sys
from collections.abc import Iterator
from contextlib import contextmanager

from pymeasure.display.Qt import QtWidgets
from pymeasure.display.windows import ManagedWindow
from pymeasure.experiment import FloatParameter, IntegerParameter, Parameter, Procedure

from labctl import open_bench
from labctl.data.schema import DATA_COLUMNS, row
from labctl.model.errors import Aborted
from labctl.model.records import SweepPoint
from procedures.manual import ManualBench
from procedures.procedure import FluenceSweepProcedure, SweepContext


class BenchSweep(FluenceSweepProcedure):
    """The sweep of labctl; a stock window makes procedures from their parameters alone: a bench file."""

    bench = Parameter("Bench file", default="bench.toml")
    DATA_COLUMNS = DATA_COLUMNS

    @contextmanager
    def open_context(self) -> Iterator[SweepContext]:
        with open_bench(self.bench) as bench:
            triggered = bench.config.triggered
            yield SweepContext(bench.roles, bench.pump, bench.bands, triggered=triggered)

    def row(self, point: SweepPoint) -> dict[str, object]:
        return dict(row(point))


class Flicker(Procedure):
    """Emission of one exposure after another at one fluence: how much does it scatter?"""

    bench = Parameter("Bench file", default="bench.toml")
    fluence = FloatParameter("Fluence", units="uJ/cm^2", default=60.0)
    exposures = IntegerParameter("Exposures", default=20, minimum=1)
    integration = FloatParameter("Integration time", units="s", default=0.1)

    DATA_COLUMNS = ["Exposure", "Fluence (uJ/cm^2)", "Emission (counts per pulse)"]  # noqa: RUF012

    def execute(self) -> None:
        with open_bench(self.bench) as bench:  # whatever happens below, the bench is made safe on the way out
            hand = ManualBench(bench.roles, bench.pump)
            stop = Stop(self)
            rate = bench.config.pump.repetition_rate_hz
            dark = hand.dark(self.integration, 10, stop)
            hand.set_fluence(self.fluence, stop)  # limits, angle, a reading of the meter
            hand.open()
            try:
                for number in range(1, self.exposures + 1):
                    spectrum = hand.expose(self.integration, stop)
                    reading = hand.reading(stop)  # the meter is read in the light, or the light is ended
                    counts = float((spectrum.counts - dark).sum()) / (self.integration * rate)
                    values = (number, reading.fluence_uj_cm2, counts)
                    self.emit("results", dict(zip(self.DATA_COLUMNS, values, strict=True)))
                    self.emit("progress", 100 * number / self.exposures)
            except Aborted:
                pass  # the button of the window: pymeasure marks the run as aborted by itself
            finally:
                hand.close()


class Stop:
    """The window's Abort button, as labctl asks for it."""

    def __init__(self, procedure: Procedure) -> None:
        self._procedure = procedure

    def is_set(self) -> bool:
        return bool(self._procedure.should_stop())


def window(procedure: type[Procedure], x_axis: str, y_axis: str, inputs: list[str]) -> ManagedWindow:
    made = ManagedWindow(
        procedure_class=procedure, inputs=["bench", *inputs], displays=inputs, x_axis=x_axis, y_axis=y_axis
    )
    made.setWindowTitle(procedure.__name__)
    return made


def sweep_window() -> ManagedWindow:
    inputs = ["sample", "start_uj_cm2", "stop_uj_cm2", "points", "spacing", "direction", "average"]
    return window(BenchSweep, "Fluence (uJ/cm^2)", "Signal (counts per pulse)", inputs)


def flicker_window() -> ManagedWindow:
    return window(Flicker, *Flicker.DATA_COLUMNS[::2], ["fluence", "exposures", "integration"])


if __name__ == "__main__":
    application = QtWidgets.QApplication(sys.argv[:1])
    shown = flicker_window() if sys.argv[2:] == ["flicker"] else sweep_window()
    shown.inputs.bench.setText(sys.argv[1])
    shown.show()
    sys.exit(application.exec())
