"""The Procedure in pymeasure's own window, which knows nothing but its parameters."""

from __future__ import annotations

from contextlib import AbstractContextManager, nullcontext
from pathlib import Path
from typing import ClassVar

from patience import until
from procedures_fakes import BANDS, FakeBench, limits, pump_settings
from pymeasure.experiment.procedure import Procedure

from labctl.model.records import SweepPoint
from procedures.gate.pump import Pump
from procedures.procedure import FluenceSweepProcedure, SweepContext

BENCH = FakeBench()


class Windowed(FluenceSweepProcedure):
    DATA_COLUMNS: ClassVar[list[str]] = ["Fluence (uJ/cm^2)", "Signal"]

    def open_context(self) -> AbstractContextManager[SweepContext]:
        pump = Pump(BENCH.roles, pump_settings(), limits())
        return nullcontext(SweepContext(BENCH.roles, pump, BANDS))

    def row(self, point: SweepPoint) -> dict[str, object]:
        return {"Fluence (uJ/cm^2)": point.fluence_uj_cm2, "Signal": point.signal}


def test_a_stock_managed_window_runs_a_sweep(tmp_path: Path) -> None:
    from pymeasure.display.Qt import QtWidgets
    from pymeasure.display.windows import ManagedWindow

    application = QtWidgets.QApplication.instance() or QtWidgets.QApplication([])
    inputs = ["start_uj_cm2", "stop_uj_cm2", "points", "spacing", "direction", "average", "keep_open"]
    window = ManagedWindow(
        procedure_class=Windowed, inputs=inputs, displays=inputs, x_axis="Fluence (uJ/cm^2)", y_axis="Signal"
    )
    window.directory, window.filename = str(tmp_path), "run"
    window.inputs.points.setValue(4)
    window.queue()
    (experiment,) = window.manager.experiments.queue

    def ended() -> bool:
        application.processEvents()
        return not window.manager.is_running()

    until(ended)
    assert experiment.procedure.status == Procedure.FINISHED
    assert experiment.procedure.points == 4
    assert len(experiment.results.data) == 4
    window.close()
