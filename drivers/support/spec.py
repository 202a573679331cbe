"""The entry a driver module offers to the registry, and the configuration every driver shares."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass
from typing import Annotated, Any, Literal

from pydantic import BaseModel, ConfigDict, Field

RoleName = Literal["attenuator", "power_meter", "spectrometer", "shutter", "stage", "thermometer", "heater"]


BaudRate = Annotated[int, Field(ge=300, le=4_000_000)]


class DriverConfig(BaseModel):
    """One instrument's table in the bench file; a key that is not declared is an error.

    :param driver: the key of the driver.
    :param resource: the address.
    """

    model_config = ConfigDict(extra="forbid", frozen=True)

    driver: str
    resource: Annotated[str, Field(min_length=1)]


class VisaConfig(DriverConfig):
    """What every VISA driver can be told.

    :param visa_library: pyvisa's name of a VISA: "@py" (pyvisa-py, no installer), "@ivi" or a path.
    """

    visa_library: str = "@py"


@dataclass(frozen=True, slots=True)
class DriverSpec:
    """One driver, as configuration and registry know it.

    :param key: what ``driver`` in the bench file says, e.g. "thorlabs-sc10".
    :param role: the role it plays.
    :param config: the table of the bench file.
    :param summary: the instrument, in a few words.
    :param open: called as ``open(config, clock)``; connects, checks who answers and returns an object that
        satisfies the role. Raises ``NotConnected`` or another ``InstrumentError`` and nothing else.
    """

    key: str
    role: RoleName
    config: type[DriverConfig]
    open: Callable[..., Any]
    summary: str
