"""Cells in which chance says which messages are hit, and cells in which several faults come together."""

from __future__ import annotations

from collections.abc import Iterator

from fault_records import Cell, ProcedureName

from simulators.faults.kinds import KINDS

ROLES = ("attenuator", "power_meter", "shutter", "spectrometer")
PROBABILITY = 0.02
MOST = 4
"""Messages that one fault may hit: enough of them and every sweep would only end."""
SEEDS = (1, 2)
TOGETHER = 12
EXTRA = {"delay": "wall_s = 0.4", "disconnect": "wall_s = 0.2", "stall": "wall_s = 1.0"}


def cells(procedure: ProcedureName) -> Iterator[Cell]:
    """Yield the cells of one procedure."""
    for kind, rule in KINDS.items():
        if rule.layer != "bytes":
            continue
        for role in ROLES:
            if role not in rule.roles:
                continue
            for seed in SEEDS if procedure == "sweep" else SEEDS[:1]:
                lines = (f"probability = {PROBABILITY}", f"count = {MOST}", *_extra(kind))
                yield Cell(kind, role, f"at random, seed {seed}", lines, procedure, seed=seed, may_miss=True)
    for seed in range(TOGETHER if procedure == "sweep" else 2):
        yield Cell(
            "several", "", f"together, seed {seed}", (), procedure,
            seed=seed, plan=_several(seed), may_miss=True,
        )  # fmt: skip


def _extra(kind: str) -> tuple[str, ...]:
    return (EXTRA[kind],) if kind in EXTRA else ()


def _several(seed: int) -> str:
    """Return a plan in which every instrument's line is bad in two ways at once."""
    kinds = [kind for kind, rule in KINDS.items() if rule.layer == "bytes" and ROLES[0] in rule.roles]
    tables = [f"seed = {seed}"]
    for place, role in enumerate(ROLES):
        for step in (0, 3):
            kind = kinds[(seed + place + step) % len(kinds)]
            tables += [
                "[[fault]]", f'kind = "{kind}"', f'instrument = "{role}"',
                f"probability = {PROBABILITY / 4}", "count = 2", *_extra(kind),
            ]  # fmt: skip
    return "\n".join(tables)
