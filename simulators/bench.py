"""The simulated bench: one scene, its instruments, and a pair of hands, each behind an address of its own."""

from __future__ import annotations

import json
from collections.abc import Callable, Mapping, Sequence
from types import MappingProxyType, TracebackType
from typing import Any, Literal, Self

from labctl.model.clock import Clock
from simulators.faults import FaultLog, FaultPlan
from simulators.faults.injection import Injection
from simulators.link import Wire
from simulators.registry import Simulator, find
from simulators.scene import Scene, SceneSettings
from simulators.scene.hand import HandError
from simulators.servers import PtyServer, Server, TcpServer
from simulators.usb.usbip import UsbBus

LONGEST_LINE = 4096
"""Bytes of a request; a longer line is refused and skipped to its end."""


class HandWire(Wire):
    """Does on the table what each line asks for."""

    def __init__(self, scene: Scene) -> None:
        super().__init__(scene.clock)
        self._hand = scene.hand
        self._rest = b""
        self._skipping = False

    def new_client(self) -> None:
        """Forget half a line."""
        self._rest, self._skipping = b"", False

    def receive(self, data: bytes) -> None:
        """Take bytes and answer every line they complete."""
        *lines, self._rest = (self._rest + data).split(b"\n")
        for line in lines:
            if self._skipping:
                self._skipping = False
            elif line.strip():
                self._send(self._answer(line).encode("ascii", "backslashreplace") + b"\n")
        if self._skipping or len(self._rest) > LONGEST_LINE:
            if not self._skipping:
                self._send(f"error a line is longer than {LONGEST_LINE} bytes\n".encode("ascii"))
            self._rest, self._skipping = b"", True

    def _answer(self, line: bytes) -> str:
        try:
            if len(line) > LONGEST_LINE:
                raise HandError(f"a line is longer than {LONGEST_LINE} bytes")
            action, values = _request(line)
            number = self._hand.do(action, values)
        except HandError as exc:
            return "error " + " ".join(str(exc).split())
        return "ok" if number is None else f"ok {number!r}"


def _request(line: bytes) -> tuple[str, dict[str, Any]]:
    try:
        request = json.loads(line.decode("utf-8"))
    except (ValueError, RecursionError):
        raise HandError("not a line of JSON") from None
    if not isinstance(request, dict) or not isinstance(request.get("action"), str):
        raise HandError('not an object with an "action"')
    values = request.get("values", {})
    if not isinstance(values, dict):
        raise HandError("values: an object")
    return request["action"], values


RESOLUTION_SIGMA_REL = 0.05
"""How well somebody knows the resolution who took it from a lamp's line or a data sheet."""
_BENCH = """\
[bench]
name = "simulated {sample}, seed {seed}"
time_scale = {time_scale!r}
visa_library = "@py"
hand = "{hand}"

[attenuator]
driver = "thorlabs-ell14"
resource = "{attenuator}"
address = "0"

[power_meter]
driver = "thorlabs-pm100"
resource = "{power_meter}"
averages = 100

[spectrometer]
driver = "ocean"
resource = "{spectrometer}"
resolution_nm = {resolution_nm!r}
resolution_sigma_nm = {resolution_sigma_nm!r}

[shutter]
driver = "thorlabs-sc10"
resource = "{shutter}"
travel_s = 0.05
"""

_STAGE = """
[stage]
driver = "thorlabs-ell20"
resource = "{stage}"
address = "0"
"""

_THERMOMETER = """
[thermometer]
driver = "scpi-thermometer"
resource = "{thermometer}"
"""

_HEATER = """
[heater]
driver = "thorlabs-tc200"
resource = "{heater}"
max_temperature_c = 80.0
"""

_PUMP = """
[pump]
wavelength_nm = {wavelength_nm!r}
repetition_rate_hz = {repetition_rate_hz!r}
pulse_width_fs = {pulse_width_fs!r}
convention = "peak"
pickoff_ratio = {pickoff_ratio!r}
max_pulse_energy = "{max_pulse_energy_nj:g} nJ"
order = [{order}]
incidence_deg = {incidence_deg!r}
photon_order = 2
meter_sigma_rel = {meter_sigma_rel!r}

[pump.spot]
shape = "{shape}"
x_um = {w_x_um!r}
y_um = {w_y_um!r}

[pump.attenuator_curve]
kind = "malus"
zero_deg = {zero_deg!r}
t_min = {t_min!r}
t_max = {t_max!r}
branch = "+"

[limits]
max_fluence_uj_cm2 = {max_fluence!r}
max_pulse_energy = "150 nJ"
max_average_power = "{max_average_power_mw:g} mW"
max_dose_uj_cm2 = 1e10

[bands]
emission_nm = [505.0, 560.0]
lasing_nm = [530.0, 556.0]
"""

MAX_FLUENCE_UJ_CM2 = 700.0
CAUTIOUS_UJ_CM2 = {"ola": 300.0, "oam": 700.0}
"""Where the spot is not known, by sample: what its luminescence and its laser line need, and little more."""


def bench_file(
    settings: SceneSettings, resources: Mapping[str, str], hand: str, time_scale: float, *, nominal: bool
) -> str:
    """Return a complete bench file.

    :param settings: of the scene. :param resources: by role, optional ones among them.
    :param hand: address of the hands.
    :param nominal: keep the truth back: say what ``settings.nominal`` says, rounded.
    """
    values = _nominal(settings) if nominal else _true(settings)
    text = _BENCH + (_STAGE if "stage" in resources else "")
    text += _THERMOMETER if "thermometer" in resources else ""
    text += (_HEATER if "heater" in resources else "") + _PUMP
    laser, optics = settings.laser, settings.optics
    return text.format(
        **resources,
        **values,
        max_average_power_mw=150e-6 * float(values["repetition_rate_hz"]),
        hand=hand,
        sample=settings.sample.name.upper(),
        seed=settings.seed,
        time_scale=float(time_scale),
        wavelength_nm=laser.wavelength_nm,
        pulse_width_fs=laser.pulse_width_fs,
        order=", ".join(f'"{element}"' for element in optics.order),
        incidence_deg=optics.incidence_deg,
        meter_sigma_rel=settings.meter.scale_sigma,
    )


def _true(settings: SceneSettings) -> dict[str, float | str]:
    laser, optics = settings.laser, settings.optics
    w_x_um, w_y_um = optics.radii_um
    return {
        "repetition_rate_hz": laser.repetition_rate_hz,
        "pickoff_ratio": optics.pickoff_ratio,
        "max_pulse_energy_nj": laser.max_pulse_energy_j * 1e9,
        "shape": "gaussian" if w_x_um == w_y_um else "ellipse",
        "w_x_um": w_x_um,
        "w_y_um": w_y_um,
        "zero_deg": optics.zero_deg,
        "t_min": optics.t_min,
        "t_max": optics.t_max,
        "resolution_nm": settings.camera.resolution_nm,
        "resolution_sigma_nm": _rounded(RESOLUTION_SIGMA_REL * settings.camera.resolution_nm),
        "max_fluence": MAX_FLUENCE_UJ_CM2,
    }


def _nominal(settings: SceneSettings) -> dict[str, float | str]:
    """Return what somebody would write who has the data sheets and a ruler, and has measured nothing."""
    known = settings.nominal or settings
    w_um = _rounded(known.optics.w_um)
    return {
        "repetition_rate_hz": _rounded(known.laser.repetition_rate_hz),
        "pickoff_ratio": _rounded(known.optics.pickoff_ratio),
        "max_pulse_energy_nj": _rounded(known.laser.max_pulse_energy_j * 1e9),
        "shape": "gaussian",
        "w_x_um": w_um,
        "w_y_um": w_um,
        "zero_deg": 0.0,
        "t_min": 0.0,
        "t_max": 1.0,
        "resolution_nm": _rounded(known.camera.resolution_nm),
        "resolution_sigma_nm": _rounded(RESOLUTION_SIGMA_REL * known.camera.resolution_nm),
        "max_fluence": CAUTIOUS_UJ_CM2.get(settings.sample.name, MAX_FLUENCE_UJ_CM2),
    }


def _rounded(value: float) -> float:
    """Return two significant figures."""
    return float(f"{value:.2g}")


Transport = Literal["tcp", "pty", "usb"]

INSTRUMENTS = ("thorlabs-ell14", "thorlabs-pm100", "ocean", "thorlabs-sc10")
"""By default; another one takes the place of that of its role."""
OWN = {"thorlabs-ell14": 'address = "0"\n', "thorlabs-pm100": "averages = 100\n"}
"""Keys of the bench file that only these have."""
STAGE, THERMOMETER, HEATER = "thorlabs-ell20", "scpi-thermometer", "thorlabs-tc200"


class SimulatedBench:
    """Serves a scene; use it as a context manager. Several may run in one process.

    :param settings: what stands on the table, see :func:`simulators.presets.scene`.
    :param clock: the scene's clock; share it with the client to run both on a stepped one.
    :param transport: "tcp" on any platform; "pty" for serial instruments on POSIX; "usb" for those with a
        USB plug, on a bus that USB/IP clients reach. The others are on TCP.
    :param faults: what shall go wrong, see :func:`simulators.faults.load_faults`.
    :param instruments: keys of those that take the place of the usual ones.
    :raises KeyError: there is no simulated instrument of that key.
    :raises ConfigError: a fault is meant for an instrument that this scene does not have.
    :raises NotImplementedError: pseudo-terminals were asked for on Windows.
    """

    def __init__(
        self,
        settings: SceneSettings,
        clock: Clock,
        transport: Transport = "tcp",
        faults: FaultPlan | None = None,
        instruments: Sequence[str] = (),
    ) -> None:
        others = {find(key).role: key for key in instruments}
        self._four = tuple(others.get(find(key).role, key) for key in INSTRUMENTS)
        self.scene = Scene(settings, clock)
        self._log = FaultLog()
        self._injection: Injection | None = None
        self._transport = transport
        self._servers: dict[str, Server] = {}
        self._hand = TcpServer(HandWire(self.scene), clock)
        self.usb = UsbBus() if transport == "usb" else None
        try:
            for key in self._keys():
                simulator = find(key)
                self._servers[simulator.role] = self._server(simulator)
            if faults is not None:
                self._injection = self._inject(faults)
        except BaseException:
            self.stop()
            raise
        self.resources: Mapping[str, str] = MappingProxyType(
            {role: _resource(role, server) for role, server in self._servers.items()}
        )

    def __enter__(self) -> Self:
        self.start()
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        self.stop()

    def start(self) -> None:
        """Begin to serve; every address is listening when this returns."""
        for server in (self._hand, *self._servers.values()):
            server.start()
        if self.usb is not None:
            self.usb.start()

    def stop(self) -> None:
        """End every thread and close every socket."""
        if self.usb is not None:
            self.usb.stop()
        for server in (self._hand, *self._servers.values()):
            server.stop()
        if self._injection is not None:
            self._injection.close()

    @property
    def fault_log(self) -> FaultLog:
        """Which fault fired when."""
        if self._injection is not None:
            self._injection.note_due()
        return self._log

    def server(self, role: str) -> Server:
        """Return the server of one role, to press a button on its wire or to put a filter into its link.

        :param role: e.g. "shutter".
        """
        return self._servers[role]

    @property
    def hand(self) -> str:
        """Address of the hands, "127.0.0.1:PORT"; see :mod:`simulators.bench`."""
        return f"{self._hand.host}:{self._hand.port}"

    def bench_toml(self, time_scale: float, nominal: bool = False) -> str:
        """Return a complete bench file for this bench.

        :param time_scale: seconds of the scene per second of wall time.
        :param nominal: write rounded data-sheet values and cautious limits instead of the truth.
        """
        text = bench_file(self.scene.settings, self.resources, self.hand, time_scale, nominal=nominal)
        for usual, key in zip(INSTRUMENTS, self._four, strict=True):
            if key != usual:
                text = text.replace(f'driver = "{usual}"', f'driver = "{key}"').replace(
                    OWN.get(usual, ""), ""
                )
        return text

    def _keys(self) -> tuple[str, ...]:
        there = {STAGE: self.scene.stage, THERMOMETER: self.scene.thermometer, HEATER: self.scene.plate}
        return (*self._four, *(key for key, part in there.items() if part is not None))

    def _inject(self, faults: FaultPlan) -> Injection:
        makers: dict[str, tuple[str, Callable[[Scene], Wire]]] = {}
        for simulator in map(find, self._keys()):
            makers[simulator.role] = (simulator.key, simulator.make)
        return Injection(faults, self.scene, self._servers, makers, self._log)

    def _server(self, simulator: Simulator) -> Server:
        wire = simulator.make(self.scene)
        plug = simulator.plug(self.scene) if self.usb is not None else None
        if self.usb is not None and plug is not None:
            return self.usb.plug_in(wire, self.scene.clock, plug)
        if self._transport == "pty" and simulator.serial:
            return PtyServer(wire, self.scene.clock)
        return TcpServer(wire, self.scene.clock)


def _resource(role: str, server: Server) -> str:
    if role == "spectrometer" and isinstance(server, TcpServer):
        return f"FX@{server.host}:{server.port}"
    return server.resource
