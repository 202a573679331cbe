"""The simulated bench: one scene, its instruments, and a pair of hands, each behind an address of its own."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from types import MappingProxyType, TracebackType
from typing import Literal, Self

from labctl.model.clock import Clock
from simulators.bench_file import bench_file
from simulators.faults import FaultLog, FaultPlan
from simulators.faults.injection import Injection
from simulators.hand import HandWire
from simulators.link import Wire
from simulators.registry import Simulator, find
from simulators.scene import Scene, SceneSettings
from simulators.servers import Server, TcpServer
from simulators.servers_pty import PtyServer

Transport = Literal["tcp", "pty"]

INSTRUMENTS = ("thorlabs-ell14", "thorlabs-pm100", "ocean", "thorlabs-sc10")
STAGE, THERMOMETER = "thorlabs-ell20", "scpi-thermometer"


class SimulatedBench:
    """Serves a scene; use it as a context manager. Several may run in one process.

    :param settings: what stands on the table, see :func:`simulators.presets.scene`.
    :param clock: the scene's clock; share it with the client to run both on a stepped one.
    :param transport: "tcp" on any platform, or "pty" for serial instruments on POSIX; a spectrometer is
        always on TCP.
    :param faults: what shall go wrong, see :func:`simulators.faults.load_faults`.
    :raises ConfigError: a fault is meant for an instrument that this scene does not have.
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
        self._hand = TcpServer(HandWire(self.scene), clock)
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

    def stop(self) -> None:
        """End every thread and close every socket."""
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
        """Address of the hands, "127.0.0.1:PORT"; see :mod:`simulators.hand`."""
        return f"{self._hand.host}:{self._hand.port}"

    def bench_toml(self, time_scale: float, nominal: bool = False) -> str:
        """Return a complete bench file for this bench.

        :param time_scale: seconds of the scene per second of wall time.
        :param nominal: write rounded data-sheet values and cautious limits instead of the truth.
        """
        return bench_file(self.scene.settings, self.resources, self.hand, time_scale, nominal=nominal)

    def _keys(self) -> tuple[str, ...]:
        extras = (STAGE,) if self.scene.stage else ()
        return (*INSTRUMENTS, *extras, *((THERMOMETER,) if self.scene.thermometer else ()))

    def _inject(self, faults: FaultPlan) -> Injection:
        makers: dict[str, tuple[str, Callable[[Scene], Wire]]] = {}
        for simulator in map(find, self._keys()):
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
