"""pymeasure's ThorlabsPM100USB as a power meter of labctl. An example: thorlabs-pm100 checks more."""

from typing import Annotated, Literal

from pydantic import Field

from labctl.foreign import DriverSpec, ForeignConfig, ForeignMeter
from labctl.model.records import Identity


class Config(ForeignConfig):
    driver: Literal["pymeasure-pm100usb"]
    noise_w: Annotated[float, Field(gt=0)] = 2e-9
    settling_s: Annotated[float, Field(gt=0)] = 0.1


class BorrowedPM100(ForeignMeter):
    def __init__(self, config, clock):
        self.noise_w, self.settling_s = config.noise_w, config.settling_s
        super().__init__(config, clock)

    def connect(self):
        from pymeasure.instruments.thorlabs import ThorlabsPM100USB

        ends = {"read_termination": "\n", "write_termination": "\n"}
        return ThorlabsPM100USB(self.config.resource, visa_library="@py", timeout=2000, **ends)

    def who(self, meter):
        vendor, model, serial, firmware = meter.ask("*IDN?").strip().split(",")
        return Identity(vendor, f"{model} + {meter.sensor_name.strip()}", serial, firmware)

    def disconnect(self, meter):
        meter.adapter.close()

    def set_wavelength(self, meter, wavelength_nm):
        meter.write("SENS:POW:UNIT W")  # pymeasure leaves a console in dBm as it is
        meter.wavelength = wavelength_nm
        return meter.wavelength

    def power_w(self, meter):
        return meter.power


DRIVER = DriverSpec("pymeasure-pm100usb", "power_meter", Config, BorrowedPM100, "PM100USB through pymeasure")
