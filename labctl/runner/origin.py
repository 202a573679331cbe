"""Where a run begins: in a new file, or after the points of one that was interrupted."""

from __future__ import annotations

from pathlib import Path
from typing import Any, Protocol

from pymeasure.experiment import Procedure, Results

from labctl.data import RunWriter
from labctl.model.run import RunStart
from labctl.runner.facts import RunRequest
from labctl.runner.keeper import Keeper
from labctl.session import Bench
from procedures.control import Done


class Origin(Protocol):
    """What differs between a run that begins and one that goes on."""

    @property
    def done(self) -> Done:
        """What earlier sessions have measured; final once :meth:`begin` has returned."""

    def writer(self) -> RunWriter:
        """Take hold of the run's file."""

    def begin(self, bench: Bench, keeper: Keeper, start: RunStart) -> None:
        """Begin the file on an open bench; no light has been asked for yet."""

    def results(self, procedure: Procedure, csv: Path) -> Results:
        """Open the run's CSV."""


class NewRun:
    """A run in files of its own."""

    def __init__(self, request: RunRequest) -> None:
        self._request = request
        self.done = Done()

    def writer(self) -> RunWriter:
        """Reserve a name that nobody has."""
        return RunWriter(self._request.output, self._request.stem())

    def begin(self, bench: Bench, keeper: Keeper, start: RunStart) -> None:  # noqa: ARG002
        """Create the file."""
        keeper.begin(start)

    def results(self, procedure: Procedure, csv: Path) -> Any:
        """Create the CSV with its header."""
        return Results(procedure, str(csv))
