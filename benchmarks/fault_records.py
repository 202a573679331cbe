"""A cell of the fault matrix, and what came of it."""

from __future__ import annotations

from dataclasses import dataclass, field
from typing import Literal

ProcedureName = Literal[
    "sweep", "adaptive", "check", "process", "stability", "resume", "align", "set fluence", "set angle",
    "cal attenuator", "cal pickoff", "cal energy", "cal spot", "cal spectrometer", "cal check",
]  # fmt: skip
LIMIT_S = 60.0
"""Wall time beyond which a cell counts as hanging: above the sum of every deadline a run can meet."""
SAFE_S = 1.0


@dataclass(frozen=True)
class Cell:
    """A fault, as the lines of its table in a plan, and the procedure it befalls.

    :param where: in words, which message or moment.
    :param seed: of what is left to chance.
    :param plan: a whole plan, where it is more than one fault.
    :param may_miss: whether it is no mistake of the cell if nothing was hit.
    :param lies_from: the instrument answers in form and lies, as ``kind`` says, from this message on.
    :param behind: the pick-off stands behind the shutter.
    """

    kind: str
    instrument: str
    where: str
    lines: tuple[str, ...]
    procedure: ProcedureName
    seed: int = 3
    plan: str = ""
    may_miss: bool = False
    lies_from: int = 0
    behind: bool = False

    def toml(self) -> str:
        """Return the plan of faults."""
        return self.plan or "\n".join(
            (
                f"seed = {self.seed}",
                "[[fault]]",
                f'kind = "{self.kind}"',
                f'instrument = "{self.instrument}"',
                *self.lines,
            )
        )


@dataclass
class Outcome:
    """What came of a cell; ``problems`` is empty where the requirement holds.

    :param ended: "finished", "error", or "told": it went to its end and said that something is wrong.
    :param told: everything that its user reads, or finds in the file.
    :param lit_s: bench seconds of light above the attenuator's least after a lie began.
    """

    cell: Cell
    ended: str = ""
    error: str = ""
    points: int = 0
    flagged: int = 0
    fired: int = 0
    wall_s: float = 0.0
    safe_s: float | None = None
    lit_s: float | None = None
    worst: float = 0.0
    told: str = ""
    problems: list[str] = field(default_factory=list)
