"""Which messages of which instrument are hit in which procedure, and how; also by chance: the cells."""

from __future__ import annotations

from collections.abc import Iterator, Mapping

from fault_judge import Cell, ProcedureName

from simulators.faults.plan import EVERYBODY, KINDS

Message = tuple[str, int]
"""A name, and which of its requests it is."""
REQUESTS: Mapping[str, Mapping[str, str]] = {
    "attenuator": {"first": "0in", "homing": "0ho", "move": "0ma", "position": "0gp"},
    "power_meter": {
        "first": "*IDN?", "setting": "SENS:CORR:WAV ", "read-back": "SENS:CORR:WAV?", "reading": "MEAS:POW?",
        "count": "FETC?", "range": "SENS:POW:RANG?",
    },
    "shutter": {
        "first": "id?", "toggle": "^ens$", "toggle to close": "^ens$", "asked": "ens?", "switch": "closed?",
        "interlock": "interlock?",
    },
    "spectrometer": {
        "first": "00000100", "setting": "00110010", "read-back": "00110000", "spectrum": "00101000",
    },
    "stage": {"first": "0in", "move": "0ma", "position": "0gp"},
    "thermometer": {"first": "*IDN?", "reading": "MEAS:TEMP?"},
    "heater": {"first": "id?", "reading": "tact?", "toggle": "^ens$"},
}  # fmt: skip
"""What a request contains, by its name."""
MESSAGES: Mapping[str, tuple[Message, ...]] = {
    "attenuator": (("first", 1), ("homing", 1), ("move", 4), ("position", 6)),
    "power_meter": (("first", 1), ("setting", 1), ("read-back", 3), ("reading", 20)),
    "shutter": (
        ("first", 1), ("toggle", 5), ("toggle to close", 6), ("asked", 9), ("switch", 15), ("interlock", 3),
    ),
    "spectrometer": (("first", 1), ("setting", 2), ("read-back", 3), ("spectrum", 30)),
}  # fmt: skip
"""Of a planned and of an adaptive sweep."""
CHECKED: Mapping[str, tuple[Message, ...]] = {
    "attenuator": (("first", 1), ("position", 1)),
    "power_meter": (("first", 1), ("setting", 1), ("read-back", 1), ("reading", 1)),
    "shutter": (("first", 1), ("switch", 1)),
    "spectrometer": (("first", 1), ("setting", 1), ("read-back", 1), ("spectrum", 1)),
    "stage": (("first", 1), ("position", 1)),
    "thermometer": (("first", 1), ("reading", 1)),
}
"""Of a check."""
MAIN = {"move", "reading", "toggle", "toggle to close", "spectrum"}
"""Messages on which the light rests: hit in every way in a planned sweep, and alone in an adaptive one."""
BY_HAND: Mapping[str, tuple[Message, ...]] = {
    "attenuator": (("move", 2),),
    "power_meter": (("reading", 8),),
    "shutter": (("toggle", 1), ("toggle to close", 2)),
}
MEASURING: Mapping[ProcedureName, Mapping[str, tuple[Message, ...]]] = {
    "stability": {
        "attenuator": (("move", 6),),
        "power_meter": (("reading", 24),),
        "shutter": (("toggle", 9), ("toggle to close", 10)),
        "spectrometer": (("spectrum", 30),),
        "thermometer": (("reading", 4),),
    },
    "resume": {
        "attenuator": (("move", 3),),
        "power_meter": (("reading", 12),),
        "shutter": (("toggle", 3), ("toggle to close", 4)),
        "spectrometer": (("spectrum", 52),),
    },
    "align": {
        "attenuator": (("move", 16),),
        "power_meter": (("reading", 4),),
        "shutter": (("toggle", 1), ("toggle to close", 2)),
        "spectrometer": (("spectrum", 64),),
    },
    "set fluence": BY_HAND,
    "set angle": BY_HAND,
    "cal attenuator": {
        "attenuator": (("move", 40),),
        "power_meter": (("reading", 100), ("range", 8)),
        "shutter": (("switch", 50),),
    },
    "cal pickoff": {
        "attenuator": (("move", 60),),
        "power_meter": (("reading", 150),),
        "shutter": (("toggle", 15), ("toggle to close", 14)),
    },
    "cal energy": {
        "attenuator": (("move", 12),),
        "power_meter": (("reading", 90), ("count", 4)),
        "shutter": (("toggle", 15), ("toggle to close", 16)),
    },
    "cal spot": {
        "attenuator": (("move", 24),),
        "power_meter": (("reading", 250),),
        "shutter": (("toggle", 23), ("toggle to close", 24)),
        "stage": (("move", 90), ("position", 90)),
    },
    "cal spectrometer": {
        "shutter": (("switch", 9),),
        "spectrometer": (("spectrum", 120), ("setting", 16)),
    },
    "cal check": {
        "attenuator": (("move", 4),),
        "power_meter": (("reading", 8),),
        "shutter": (("switch", 8),),
    },
}
"""In the measuring part, of each instrument one message, and further ones for faults of line and shutter.

A fault that never fires is a cell that fails. A meter beside exposures, on a clock that runs, is read less
often than one before and after them: its readings are chosen so early that both come to them.
"""
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
WHEN = {"0ma": 4, "^ens$": 5, "MEAS:POW?": 20, "00101000": 30}
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
    used = MEASURING[procedure]
    light = "power_meter" if "power_meter" in used else "spectrometer"  # says when the laser fails
    for kind, rule in KINDS.items():
        for instrument in rule.roles:
            if instrument not in used or (kind in EVERYBODY and instrument != light) or rule.layer == "usb":
                continue
            further = (rule.layer == "bytes" and kind != "short-frame") or kind == "failed-shutter"
            variants = VARIANTS.get(kind, ((),)) if rule.layer == "scene" else VARIANTS.get(kind, ((),))[:1]
            for name, nth in used[instrument] if further else used[instrument][:1]:
                for variant in variants:
                    where = " ".join((name, *variant))
                    yield Cell(kind, instrument, where, (*_hit(instrument, name, nth), *variant), procedure)


def _hit(instrument: str, name: str, nth: int) -> tuple[str, str]:
    """Return the lines of a plan that say which message is hit."""
    return f'match = "{REQUESTS[instrument][name]}"', f"nth = {nth}"


def _of_messages(kind: str, procedure: ProcedureName) -> Iterator[Cell]:
    for instrument, name, nth in _messages(kind, procedure):
        if (kind == "short-frame" and name != "spectrum") or (procedure == "adaptive" and name not in MAIN):
            continue
        for direction, variant in _ways(kind, every=procedure == "sweep" and name in MAIN):
            if direction == "request" or (instrument, name) not in UNANSWERED:
                lines = (*_hit(instrument, name, nth), f'direction = "{direction}"', *variant)
                where = " ".join((name, direction, *variant))
                yield Cell(kind, instrument, where, lines, procedure)


def _messages(kind: str, procedure: ProcedureName) -> Iterator[tuple[str, str, int]]:
    known = CHECKED if procedure == "check" else MESSAGES
    for instrument in KINDS[kind].roles:
        for name, nth in known.get(instrument, ()):
            yield instrument, name, nth


def _ways(kind: str, *, every: bool) -> Iterator[tuple[str, tuple[str, ...]]]:
    """Yield directions and variants, every one or the first of each."""
    directions, variants = KINDS[kind].directions, VARIANTS.get(kind, ((),))
    if not every:
        directions, variants = directions[:1], variants[:1]
    for direction in directions:
        for variant in variants:
            yield direction, variant


def _of_devices(kind: str, procedure: ProcedureName) -> Iterator[Cell]:
    for instrument, name, nth in _messages(kind, procedure):
        lines = _hit(instrument, name, nth)
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
