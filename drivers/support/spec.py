"""The entry a driver module offers to the registry, and the configuration every driver shares."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from dataclasses import dataclass, field
from typing import Annotated, Any, Literal

from pydantic import BaseModel, ConfigDict, Field

RoleName = Literal["attenuator", "power_meter", "spectrometer", "shutter", "stage", "thermometer", "heater"]


BaudRate = Annotated[int, Field(ge=300, le=4_000_000)]


class DriverConfig(BaseModel):
    """One instrument's table in the bench file; a key that is not declared is an error.

    :param driver: the key of the driver.
    :param resource: the address.
    :param isolated: run the driver in a process of its own, which is ended when a call does not come back.
    """

    model_config = ConfigDict(extra="forbid", frozen=True)

    driver: str
    resource: Annotated[str, Field(min_length=1)]
    isolated: bool = False


class VisaConfig(DriverConfig):
    """What every VISA driver can be told.

    :param visa_library: pyvisa's name of a VISA: "@py" (pyvisa-py, no installer), "@ivi" or a path.
    """

    visa_library: str = "@py"


@dataclass(frozen=True, slots=True)
class Probe:
    """How a device is asked who it is; the question changes nothing.

    :param question: the bytes sent.
    :param answer: regular expression of the whole text heard, with groups ``model`` and, where there are,
        ``serial`` and ``address`` (a key of the bench file).
    :param until: where the answer ends.
    :param baud_rate: of a serial line.
    :param names: of models that are told by a number.
    """

    question: bytes
    answer: str
    until: bytes = b"\n"
    baud_rate: int = 9600
    names: Mapping[str, str] = field(default_factory=dict)


@dataclass(frozen=True, slots=True)
class Support:
    """What is known of a driver's devices; the page on supported hardware is made from it.

    :param models: those it is for. :param transports: how they are reached.
    :param tried: what was tried on what. :param limits: what is known not to work.
    """

    models: str
    transports: str
    tried: str
    limits: tuple[str, ...] = ()


@dataclass(frozen=True, slots=True)
class DriverSpec:
    """One driver, as configuration and registry know it.

    :param key: what ``driver`` in the bench file says, e.g. "thorlabs-sc10".
    :param role: the role it plays.
    :param config: the table of the bench file.
    :param summary: the instrument, in a few words.
    :param open: called as ``open(config, clock)``; connects, checks who answers and returns an object that
        satisfies the role. Raises ``NotConnected`` or another ``InstrumentError`` and nothing else.
    :param support: models, transports, what was tried, limits.
    :param probes: questions by which ``labctl devices`` knows the device.
    """

    key: str
    role: RoleName
    config: type[DriverConfig]
    open: Callable[..., Any]
    summary: str
    support: Support | None = None
    probes: tuple[Probe, ...] = ()
