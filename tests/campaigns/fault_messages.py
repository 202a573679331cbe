"""Which messages of which instrument are hit in which procedure, and how; also by chance: the cells."""

from __future__ import annotations

from collections.abc import Iterator, Mapping

from fault_judge import Cell, ProcedureName

from simulators.faults.kinds import EVERYBODY, KINDS

Message = tuple[str, str, int]
"""A name, what the request contains, and which of them it is."""
MESSAGES: Mapping[str, tuple[Message, ...]] = {
    "attenuator": (("first", "0in", 1), ("homing", "0ho", 1), ("move", "0ma", 4), ("position", "0gp", 6)),
    "power_meter": (
        ("first", "*IDN?", 1),
        ("setting", "SENS:CORR:WAV ", 1),
        ("read-back", "SENS:CORR:WAV?", 3),
        ("reading", "MEAS:POW?", 40),
    ),
    "shutter": (
        ("first", "id?", 1),
        ("toggle", "^ens$", 5),
        ("toggle to close", "^ens$", 6),
        ("asked", "ens?", 9),
        ("switch", "closed?", 15),
        ("interlock", "interlock?", 3),
    ),
    "spectrometer": (
        ("first", "00000100", 1),
        ("setting", "00110010", 2),
        ("read-back", "00110000", 3),
        ("spectrum", "00101000", 30),
    ),
}
"""Of a planned and of an adaptive sweep."""
CHECKED: Mapping[str, tuple[Message, ...]] = {
    role: tuple(
        (name, match, 1)
        for name, match, _ in messages
        if name in ("first", "read-back", "position", "reading", "switch", "setting", "spectrum")
    )
    for role, messages in {
        **MESSAGES,
        "stage": (("first", "0in", 1), ("position", "0gp", 1)),
        "thermometer": (("first", "*IDN?", 1), ("reading", "MEAS:TEMP?", 2)),
    }.items()
}
"""Of a check."""
MAIN = {"move", "reading", "toggle", "toggle to close", "spectrum"}
"""Messages on which the light rests: hit in every way in a planned sweep, and alone in an adaptive one."""
MEASURING: Mapping[ProcedureName, Mapping[str, Message]] = {
    "stability": {
        "attenuator": ("move", "0ma", 6),
        "power_meter": ("reading", "MEAS:POW?", 50),
        "shutter": ("toggle", "^ens$", 9),
        "spectrometer": ("spectrum", "00101000", 30),
        "thermometer": ("reading", "MEAS:TEMP?", 4),
    },
    "resume": {
        "attenuator": ("move", "0ma", 3),
        "power_meter": ("reading", "MEAS:POW?", 20),
        "shutter": ("toggle", "^ens$", 3),
        "spectrometer": ("spectrum", "00101000", 52),
    },
    "align": {
        "attenuator": ("move", "0ma", 16),
        "power_meter": ("reading", "MEAS:POW?", 14),
        "shutter": ("toggle", "^ens$", 1),
        "spectrometer": ("spectrum", "00101000", 64),
    },
    "set fluence": {
        "attenuator": ("move", "0ma", 2),
        "power_meter": ("reading", "MEAS:POW?", 8),
        "shutter": ("toggle", "^ens$", 1),
    },
    "set angle": {
        "attenuator": ("move", "0ma", 2),
        "power_meter": ("reading", "MEAS:POW?", 8),
        "shutter": ("toggle", "^ens$", 1),
    },
    "cal attenuator": {
        "attenuator": ("move", "0ma", 40),
        "power_meter": ("reading", "MEAS:POW?", 100),
        "shutter": ("switch", "closed?", 50),
    },
    "cal pickoff": {
        "attenuator": ("move", "0ma", 60),
        "power_meter": ("reading", "MEAS:POW?", 150),
        "shutter": ("toggle", "^ens$", 15),
    },
    "cal energy": {
        "attenuator": ("move", "0ma", 12),
        "power_meter": ("reading", "MEAS:POW?", 90),
        "shutter": ("toggle", "^ens$", 15),
    },
    "cal spot": {
        "attenuator": ("move", "0ma", 24),
        "power_meter": ("reading", "MEAS:POW?", 250),
        "shutter": ("toggle", "^ens$", 23),
        "stage": ("move", "0ma", 90),
    },
    "cal spectrometer": {
        "shutter": ("switch", "closed?", 9),
        "spectrometer": ("spectrum", "00101000", 120),
    },
    "cal check": {
        "attenuator": ("move", "0ma", 4),
        "power_meter": ("reading", "MEAS:POW?", 8),
        "shutter": ("switch", "closed?", 8),
    },
}
"""One message of each instrument in the measuring part; a fault that never fires is a cell that fails."""
BESIDE: Mapping[ProcedureName, Mapping[str, tuple[Message, ...]]] = {
    "stability": {"shutter": (("toggle to close", "^ens$", 10),)},
    "resume": {"shutter": (("toggle to close", "^ens$", 4),)},
    "cal pickoff": {"shutter": (("toggle to close", "^ens$", 14),)},
    "cal energy": {
        "power_meter": (("count", "FETC?", 4),),
        "shutter": (("toggle to close", "^ens$", 16),),
    },
    "cal attenuator": {"power_meter": (("range", "SENS:POW:RANG?", 8),)},
    "cal spot": {
        "stage": (("position", "0gp", 90),),
        "shutter": (("toggle to close", "^ens$", 24),),
    },
    "align": {"shutter": (("toggle to close", "^ens$", 2),)},
    "set fluence": {"shutter": (("toggle to close", "^ens$", 2),)},
    "set angle": {"shutter": (("toggle to close", "^ens$", 2),)},
    "cal spectrometer": {"spectrometer": (("setting", "00110010", 16),)},
}
"""Further ones."""
VARIANTS: Mapping[str, tuple[tuple[str, ...], ...]] = {
    "drop": ((), ("count = 1000000",)),
    "delay": (("wall_s = 0.5",), ("wall_s = 5.0",)),
    "late-answer": ((), ("wall_s = 2.5",)),
    "disconnect": ((), ("wall_s = 30.0",)),
    "stall": (("wall_s = 3.0",), ()),
    "garble": ((), ("bytes = 1",)),
    "truncate": ((), ("bytes = 0",)),
    "stale-answer": ((), ("count = 1000000",)),
    "stuck-plate": ((), ('readback = "commanded"',)),
    "stuck-stage": ((), ('readback = "commanded"',)),
    "failed-shutter": ((), ('readback = "commanded"',)),
    "dead-laser": ((), ("duration_s = 2.0",)),
    "slow-shutter": ((), ("travel_s = 0.1",)),
}
ON_THE_TABLE = {
    "stuck-plate": ("0ma", "attenuator"),
    "slipped-plate": ("0ma", "attenuator"),
    "failed-shutter": ("^ens$", "shutter"),
    "slow-shutter": ("^ens$", "shutter"),
    "dead-laser": ("00101000", "spectrometer"),
    "jumping-laser": ("00101000", "spectrometer"),
    "drifting-laser": ("00101000", "spectrometer"),
    "blocked-meter": ("MEAS:POW?", "power_meter"),
    "saturated-spectrometer": ("00101000", "spectrometer"),
}
WHEN = {"0ma": 4, "^ens$": 5, "MEAS:POW?": 40, "00101000": 30}
UNANSWERED = {("power_meter", "setting")}
BY_CHANCE = ("sweep", "adaptive", "check")
"""Procedures in which chance chooses, too."""
FOUR = ("attenuator", "power_meter", "shutter", "spectrometer")
PROBABILITY = 0.02
MOST = 4
"""Messages that one fault may hit: enough of them and every sweep would only end."""
SEEDS = (1, 2)
TOGETHER = 12
EXTRA = {"delay": "wall_s = 0.4", "disconnect": "wall_s = 0.2", "stall": "wall_s = 1.0"}


def cells(procedure: ProcedureName) -> Iterator[Cell]:
    """Yield every cell of one procedure."""
    yield Cell("none", "", "", (), procedure)
    if procedure in MEASURING:
        yield from _in_the_measuring_part(procedure)
        return
    for kind in KINDS:
        if KINDS[kind].layer == "bytes":
            yield from _of_messages(kind, procedure)
        elif KINDS[kind].layer == "device":
            yield from _of_devices(kind, procedure)
        elif kind in ON_THE_TABLE:
            yield from _of_the_table(kind, procedure)
    if procedure in BY_CHANCE:
        yield from _by_chance(procedure)


def _in_the_measuring_part(procedure: ProcedureName) -> Iterator[Cell]:
    """Yield every kind for every instrument that the procedure uses."""
    used, beside = MEASURING[procedure], BESIDE.get(procedure, {})
    for kind, rule in KINDS.items():
        for instrument in rule.roles:
            if instrument not in used or (kind in EVERYBODY and instrument != _light_of(used)):
                continue
            wanted = (rule.layer == "bytes" and kind != "short-frame") or kind == "failed-shutter"
            further = beside.get(instrument, ()) if wanted else ()
            variants = VARIANTS.get(kind, ((),)) if rule.layer == "scene" else VARIANTS.get(kind, ((),))[:1]
            for name, match, nth in (used[instrument], *further):
                lines = (f'match = "{match}"', f"nth = {nth}")
                for variant in variants:
                    where = " ".join((name, *variant))
                    yield Cell(kind, instrument, where, (*lines, *variant), procedure)


def _light_of(used: Mapping[str, Message]) -> str:
    """Return the instrument whose messages say when the laser fails."""
    return "power_meter" if "power_meter" in used else "spectrometer"


def _of_messages(kind: str, procedure: ProcedureName) -> Iterator[Cell]:
    for instrument, name, match, nth in _messages(kind, procedure):
        if (kind == "short-frame" and name != "spectrum") or (procedure == "adaptive" and name not in MAIN):
            continue
        for direction, variant in _ways(kind, every=procedure == "sweep" and name in MAIN):
            if direction == "request" or (instrument, name) not in UNANSWERED:
                lines = (f'match = "{match}"', f"nth = {nth}", f'direction = "{direction}"', *variant)
                where = " ".join((name, direction, *variant))
                yield Cell(kind, instrument, where, lines, procedure)


def _messages(kind: str, procedure: ProcedureName) -> Iterator[tuple[str, str, str, int]]:
    known = CHECKED if procedure == "check" else MESSAGES
    for instrument in KINDS[kind].roles:
        for name, match, nth in known.get(instrument, ()):
            yield instrument, name, match, nth


def _ways(kind: str, *, every: bool) -> Iterator[tuple[str, tuple[str, ...]]]:
    """Yield directions and variants, every one or the first of each."""
    directions, variants = KINDS[kind].directions, VARIANTS.get(kind, ((),))
    if not every:
        directions, variants = directions[:1], variants[:1]
    for direction in directions:
        for variant in variants:
            yield direction, variant


def _of_devices(kind: str, procedure: ProcedureName) -> Iterator[Cell]:
    for instrument, name, match, nth in _messages(kind, procedure):
        lines = (f'match = "{match}"', f"nth = {nth}")
        yield Cell(kind, instrument, name, lines, procedure)
        if kind == "restart" and instrument == "spectrometer":
            yield Cell(kind, instrument, f"{name} 0.35 s", (*lines, "integration_s = 0.35"), procedure)


def _of_the_table(kind: str, procedure: ProcedureName) -> Iterator[Cell]:
    match, instrument = ON_THE_TABLE[kind]
    for variant in VARIANTS.get(kind, ((),)):
        for name, moment in _moments(kind, match, procedure).items():
            yield Cell(kind, instrument, " ".join((name, *variant)), (moment, *variant), procedure)


def _moments(kind: str, match: str, procedure: ProcedureName) -> dict[str, str]:
    moments = {"from the start": "at_s = 0.0"}
    if procedure != "check":
        moments["in the sweep"] = f'match = "{match}"\nnth = {WHEN[match]}'
        if kind == "failed-shutter":
            moments["to close"] = f'match = "{match}"\nnth = {WHEN[match] + 1}'
    return moments


def _by_chance(procedure: ProcedureName) -> Iterator[Cell]:
    """Yield cells in which chance says which messages are hit, and in which several faults come together."""
    for kind, rule in KINDS.items():
        if rule.layer != "bytes":
            continue
        for role in FOUR:
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
    kinds = [kind for kind, rule in KINDS.items() if rule.layer == "bytes" and FOUR[0] in rule.roles]
    tables = [f"seed = {seed}"]
    for place, role in enumerate(FOUR):
        for step in (0, 3):
            kind = kinds[(seed + place + step) % len(kinds)]
            tables += [
                "[[fault]]", f'kind = "{kind}"', f'instrument = "{role}"',
                f"probability = {PROBABILITY / 4}", "count = 2", *_extra(kind),
            ]  # fmt: skip
    return "\n".join(tables)
