"""Which supported instruments are plugged in; each is asked who it is, and nothing else.

USB devices are looked at by their numbers first: only what may be ours is opened, and what another program
holds is left alone. A serial port whose USB chip is one of many uses is asked only when it is named.
"""

from __future__ import annotations

import os
import re
import sys
import threading
from collections.abc import Iterator, Sequence
from contextlib import suppress
from dataclasses import dataclass, field
from pathlib import Path
from typing import TYPE_CHECKING, Any

from labctl.model.errors import InstrumentError, LabctlError, NotConnected

if TYPE_CHECKING:
    from drivers.support.spec import DriverSpec, Probe

# Nothing here is imported that takes long before there is something to ask.

THORLABS, OCEAN = 0x1313, (0x2457, 0x0999)
TEST_AND_MEASUREMENT = (0xFE, 3)
"""Class and subclass of a USB interface that speaks USB-TMC."""
BUS_S = 4.0
"""Wall time in which the USB bus must have been looked over."""
ANSWER_S, SHORT_ANSWER_S, QUIET_S = 0.3, 0.08, 0.05
"""How long an answer may take; that of a message or of one address of a bus, for a device may go on talking
ten times a second; and until a line is quiet (all in wall time)."""
SPECTROMETERS_S = 20.0
CHILD_MODULE = "drivers.spectrometers.ocean_child"
HELD = "held by another program, and not asked"


@dataclass(frozen=True, slots=True)
class FoundInstrument:
    """One device, port or bus.

    :param resource: where it is.
    :param what: who it says it is, or what its USB descriptor says.
    :param role: that it plays; "" where no driver knows it.
    :param driver: key of the driver.
    :param keys: further keys of its table in the bench file.
    :param why: why it was not asked, or cannot be used.
    :param needed: keys that its table needs besides, and that nobody but its owner knows.
    """

    resource: str
    what: str
    role: str = ""
    driver: str = ""
    keys: dict[str, str | int] = field(default_factory=dict)
    why: str = ""
    needed: tuple[str, ...] = ()

    @property
    def lines(self) -> tuple[str, ...]:
        """What to put into the bench file; none where nothing is known of it."""
        if not self.role:
            return ()
        table = {"driver": self.driver, "resource": self.resource, **self.keys}
        lines = (f"{key} = {_toml(value)}" for key, value in table.items())
        return (f"[{self.role}]", *lines, *(f"# {key} =   needed, and for you to say" for key in self.needed))


def _toml(value: str | int) -> str:
    if isinstance(value, int):
        return str(value)
    escaped = value.replace("\\", "\\\\").replace('"', '\\"')
    return f'"{escaped}"'


def found(probe: Sequence[str] = ()) -> list[FoundInstrument]:
    """Look at USB, at serial ports and at the places named in ``probe``.

    :param probe: ports or VISA resources that are asked whatever stands there.
    """
    instruments: list[FoundInstrument] = []
    usb = _usb_devices()
    if usb is None:
        hint = "the USB bus does not answer: unplug devices one by one to find which of them holds it up"
        instruments.append(FoundInstrument("USB", "", why=hint))
        usb = []
    instruments += [_on_usb(each) for each in usb if each.measures]
    instruments += _at_ports(probe)
    if any(each.vendor in OCEAN for each in usb):
        instruments += _spectrometers()
    return instruments


# -- USB ----------------------------------------------------------------------------------------------


@dataclass(frozen=True, slots=True)
class UsbDevice:
    """One device on the bus, by its descriptors.

    :param measures: whether it speaks USB-TMC.
    :param serial: its serial number; None where this user may not read it.
    """

    vendor: int
    product: int
    measures: bool
    serial: str | None = None


def _usb_devices() -> list[UsbDevice] | None:
    """Return what stands on the bus; None where it does not answer."""
    seen: list[UsbDevice] = []

    def look() -> None:
        with suppress(Exception):  # no libusb, or no right to the bus: then nothing is found there
            seen.extend(_enumerated())

    thread = threading.Thread(target=look, name="USB bus", daemon=True)
    thread.start()
    thread.join(BUS_S)
    return None if thread.is_alive() else seen


def _enumerated() -> Iterator[UsbDevice]:
    import libusb_package
    import usb.core
    import usb.util
    from usb.backend import libusb1

    backend = libusb1.get_backend() or libusb1.get_backend(find_library=libusb_package.find_library)
    for device in usb.core.find(find_all=True, backend=backend) if backend is not None else ():
        interfaces = [interface for configuration in device for interface in configuration]
        measures = TEST_AND_MEASUREMENT in [(i.bInterfaceClass, i.bInterfaceSubClass) for i in interfaces]
        serial = None
        if measures:
            with suppress(usb.core.USBError, ValueError, NotImplementedError):
                serial = device.serial_number
            usb.util.dispose_resources(device)
        yield UsbDevice(int(device.idVendor), int(device.idProduct), measures, serial)


def _on_usb(device: UsbDevice) -> FoundInstrument:
    """Ask what stands on USB-TMC."""
    where = f"USB0::0x{device.vendor:04X}::0x{device.product:04X}"
    if device.serial is None:
        why = "its serial number cannot be read: on Linux install the udev rules of 'First bench'"
        return FoundInstrument(where, "", why=why)
    return _asked(f"{where}::{device.serial}::INSTR", _probes_of(b"*IDN?\n"))


def _spectrometers() -> list[FoundInstrument]:
    """Ask the spectrometers, in a process that can be killed."""
    from drivers.support.child import Child, ChildDied, ChildHangs

    try:
        child = Child(CHILD_MODULE)
        header, _ = child.call("list", {}, SPECTROMETERS_S)
    except (OSError, ChildDied, ChildHangs) as exc:
        return [FoundInstrument("USB", "an Ocean spectrometer", why=f"seabreeze does not list it: {exc}")]
    child.close()
    if "error" in header:
        return [FoundInstrument("USB", "an Ocean spectrometer", why=str(header["text"]))]
    asked: dict[tuple[str, str], FoundInstrument] = {}
    for library, model, serial, why in header["found"]:
        name = re.sub("[^A-Z0-9]", "", model.upper())
        new = FoundInstrument(serial, f"{model} {serial} ({library})", "spectrometer", "ocean")
        if why:
            new = FoundInstrument("USB", f"{model} ({library})", why=why)
        asked.setdefault((name, serial), new)  # the compiled backend comes first, as when it is opened
    return list(asked.values())


# -- ports --------------------------------------------------------------------------------------------


def _at_ports(probe: Sequence[str]) -> list[FoundInstrument]:
    from serial.tools.list_ports import comports

    instruments: list[FoundInstrument] = []
    named = {_plain_port(each): each for each in probe}
    for port in comports():
        ours = port.vid == THORLABS or "thorlabs" in (port.manufacturer or "").lower()
        resource = f"ASRL{port.device}::INSTR"
        asked_for = named.pop(port.device, "")
        description = "" if port.description == "n/a" else port.description
        what = " ".join(filter(None, (port.manufacturer, port.product or description)))
        if ours or asked_for:
            instruments.append(_asked(resource, _probes_of(), what))
        else:
            chip = (
                f"its USB chip {port.vid:04x}:{port.pid:04x} serves many devices"
                if port.vid
                else "no USB device"
            )
            why = f"{chip}; to ask who is there: labctl devices --probe {port.device}"
            instruments.append(FoundInstrument(resource, what, why=why))
    for place, typed in named.items():
        resource = typed if "::" in typed else f"ASRL{place}::INSTR"
        instruments.append(_asked(resource, _probes_of()))
    return instruments


def _plain_port(text: str) -> str:
    """Return a port's name as the system writes it.

    >>> _plain_port("ASRL/dev/ttyUSB0::INSTR"), _plain_port("COM3")
    ('/dev/ttyUSB0', 'COM3')
    """
    match = re.fullmatch(r"(?i)ASRL(.+)::INSTR", text)
    return text if match is None else match[1]


def holder(port: str) -> str:
    """Return the program that has a port open, on Linux; "" where nobody has, or nobody can say.

    Elsewhere a port that is open refuses to be opened again.
    """
    linux = sys.platform == "linux"
    if not linux:
        return ""
    wanted = os.path.realpath(port)
    for folder in Path("/proc").glob("[0-9]*"):
        with suppress(OSError):
            if int(folder.name) != os.getpid() and any(
                os.path.realpath(link) == wanted for link in (folder / "fd").iterdir()
            ):
                return f"{(folder / 'comm').read_text().strip()}, process {folder.name}"
    return ""


# -- questions ----------------------------------------------------------------------------------------

Question = tuple["DriverSpec", "Probe"]


def _probes_of(only: bytes = b"") -> list[Question]:
    from drivers.registry import all_drivers

    return [(spec, p) for spec in all_drivers() for p in spec.probes if only in (b"", p.question)]


def _asked(resource: str, questions: Sequence[Question], what: str = "") -> FoundInstrument:
    """Ask until one of the answers is known; a device is opened once for each baud rate."""
    place = _plain_port(resource)
    if place != resource and (program := holder(place)):
        return FoundInstrument(resource, what, why=f"{HELD}: {program}")
    serial = place != resource
    rates = (
        sorted({probe.baud_rate for _, probe in questions}, reverse=True)
        if serial
        else [questions[0][1].baud_rate]
    )
    heard: list[str] = []
    for rate in rates:
        asked = [(spec, p) for spec, p in questions if p.baud_rate == rate or not serial]
        try:
            known = _asked_at(resource, rate, asked, heard)
        except NotConnected as exc:
            failure = exc.failures[0]
            held = any(
                word in failure.reason.lower() for word in ("busy", "exclusively lock", "access is denied")
            )
            return FoundInstrument(
                resource, what, why=HELD if held else f"{failure.reason}. Try: {failure.hint}"
            )
        except LabctlError as exc:
            return FoundInstrument(resource, what, why=str(exc))
        if known is not None:
            return known
    said = (
        f"answers {heard[0][:60]!r}, which no driver knows"
        if heard
        else "answers nothing that a driver knows"
    )
    return FoundInstrument(resource, what, why=said)


def _asked_at(
    resource: str, rate: int, questions: Sequence[Question], heard: list[str]
) -> FoundInstrument | None:
    from drivers.support.session import Port
    from drivers.support.visa import Line

    class Stranger(Line):
        """Whoever is there."""

        port = Port(rate, "\n", "", ANSWER_S)

    line = Stranger(resource, "device")
    try:
        on_usb = resource.upper().startswith("USB")
        for question in sorted({probe.question for _, probe in questions}, key=_turn):
            if (
                _turn(question)[0] == LINES and not on_usb
            ):  # half a question of before may stand in its buffer
                _exchange(line, b"\r\n", {b""}, QUIET_S)
            ends = {probe.until for _, probe in questions if probe.question == question}
            patience_s = ANSWER_S if _turn(question)[0] == LINES else SHORT_ANSWER_S
            text = _exchange(line, question, ends, patience_s)
            for spec, probe in questions:
                if probe.question == question and (match := re.fullmatch(probe.answer, text.strip("\r\n >"))):
                    return _known(resource, rate, spec, probe, match)
            if text.strip():
                heard.append(text.strip())
        if not on_usb:
            _exchange(line, b"\r\n", {b""}, QUIET_S)
    finally:
        line.close()
    return None


BINARY, LINES, BUS = 0, 1, 2


def _turn(question: bytes) -> tuple[int, bytes]:
    """Order questions: messages before text, which would stand in their way; those that end no line last."""
    if b"\0" in question:
        return BINARY, question
    return (LINES if question.endswith((b"\r", b"\n")) else BUS), question


def _exchange(line: Any, question: bytes, ends: set[bytes], patience_s: float) -> str:
    with suppress(InstrumentError), line.translated(question.decode("latin-1")):
        line.adapter.write_bytes(question)
        return bytes(line.listen(min(ends), patience_s)).decode("latin-1")
    return ""


def _known(resource: str, rate: int, spec: DriverSpec, probe: Probe, match: re.Match[str]) -> FoundInstrument:
    groups = match.groupdict()
    keys: dict[str, str | int] = {}
    if "address" in groups:
        keys["address"] = groups["address"]
    default = spec.config.model_fields.get("baud_rate")
    if default is not None and resource.upper().startswith("ASRL") and rate != default.default:
        keys["baud_rate"] = rate
    what = " ".join(filter(None, (probe.names.get(groups["model"], groups["model"]), groups.get("serial"))))
    fields = spec.config.model_fields.items()
    needed = tuple(name for name, each in fields if each.is_required() and name not in ("driver", "resource"))
    return FoundInstrument(resource, what, spec.role, spec.key, keys, needed=needed)
