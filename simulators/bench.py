"""The simulated bench: one scene, four instruments, each behind an address of its own."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from types import MappingProxyType, TracebackType
from typing import Literal, Self

from labctl.model.clock import Clock
from simulators.faults import FaultLog, FaultPlan
from simulators.faults.injection import Injection
from simulators.link import Wire
from simulators.registry import Simulator, find
from simulators.scene import Scene, SceneSettings
from simulators.servers import Server, TcpServer
from simulators.servers_pty import PtyServer

Transport = Literal["tcp", "pty"]

INSTRUMENTS = ("thorlabs-ell14", "thorlabs-pm100", "ocean", "thorlabs-sc10")

_TEMPLATE = """\
[bench]
name = "simulated {sample}, seed {seed}"
time_scale = {time_scale!r}
visa_library = "@py"

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

[shutter]
driver = "thorlabs-sc10"
resource = "{shutter}"
travel_s = 0.05

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
meter_sigma_rel = 0.0

[pump.spot]
shape = "gaussian"
x_um = {w_um!r}
y_um = {w_um!r}

[pump.attenuator_curve]
kind = "malus"
zero_deg = {zero_deg!r}
t_min = {t_min!r}
t_max = {t_max!r}
branch = "+"

[limits]
max_fluence_uj_cm2 = 700.0
max_pulse_energy = "150 nJ"
max_average_power = "{max_average_power_mw:g} mW"
max_dose_uj_cm2 = 1e10

[bands]
emission_nm = [505.0, 560.0]
lasing_nm = [530.0, 556.0]
"""


class SimulatedBench:
    """Serves a scene; use it as a context manager. Several may run in one process.

    :param settings: what stands on the table, see :func:`simulators.presets.scene`.
    :param clock: the scene's clock; share it with the client to run both on a stepped one.
    :param transport: "tcp" on any platform, or "pty" for serial instruments on POSIX; a spectrometer is
        always on TCP.
    :param faults: what shall go wrong, see :func:`simulators.faults.load_faults`.
    :raises NotImplementedError: pseudo-terminals were asked for on Windows.
    """

    def __init__(
        self,
        settings: SceneSettings,
        clock: Clock,
        transport: Transport = "tcp",
        faults: FaultPlan | None = None,
    ) -> None:
        self.scene = Scene(settings, clock)
        self._log = FaultLog()
        self._injection: Injection | None = None
        self._transport = transport
        self._servers: dict[str, Server] = {}
        try:
            for key in INSTRUMENTS:
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
        for server in self._servers.values():
            server.start()

    def stop(self) -> None:
        """End every thread and close every socket."""
        for server in self._servers.values():
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
        """Return the server of one role, to press a button on its wire or to put a filter into its link."""
        return self._servers[role]

    def bench_toml(self, time_scale: float) -> str:
        """Return a complete bench file for this bench.

        :param time_scale: seconds of the scene per second of wall time.
        """
        settings = self.scene.settings
        laser, optics = settings.laser, settings.optics
        return _TEMPLATE.format(
            **self.resources,
            sample=settings.sample.name.upper(),
            seed=settings.seed,
            time_scale=float(time_scale),
            resolution_nm=settings.camera.resolution_nm,
            wavelength_nm=laser.wavelength_nm,
            repetition_rate_hz=laser.repetition_rate_hz,
            pulse_width_fs=laser.pulse_width_fs,
            pickoff_ratio=optics.pickoff_ratio,
            max_pulse_energy_nj=laser.max_pulse_energy_j * 1e9,
            max_average_power_mw=150e-9 * laser.repetition_rate_hz * 1e3,
            order=", ".join(f'"{element}"' for element in optics.order),
            incidence_deg=optics.incidence_deg,
            w_um=optics.w_um,
            zero_deg=optics.zero_deg,
            t_min=optics.t_min,
            t_max=optics.t_max,
        )

    def _inject(self, faults: FaultPlan) -> Injection:
        makers: dict[str, tuple[str, Callable[[Scene], Wire]]] = {}
        for simulator in map(find, INSTRUMENTS):
            makers[simulator.role] = (simulator.key, simulator.make)
        return Injection(faults, self.scene, self._servers, makers, self._log)

    def _server(self, simulator: Simulator) -> Server:
        wire = simulator.make(self.scene)
        if self._transport == "pty" and simulator.serial:
            return PtyServer(wire, self.scene.clock)
        return TcpServer(wire, self.scene.clock)


def _resource(role: str, server: Server) -> str:
    if role == "spectrometer" and isinstance(server, TcpServer):
        return f"FX@{server.host}:{server.port}"
    return server.resource
