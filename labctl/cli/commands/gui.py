"""``labctl gui``: the bench window, on a bench, on a simulated one, or on run files alone."""

from __future__ import annotations

import tempfile
from pathlib import Path
from typing import Annotated

import typer


def gui(
    runs: Annotated[
        list[Path] | None,
        typer.Argument(help="Run files to open; this needs no bench.", show_default=False),
    ] = None,
    bench: Annotated[
        Path | None,
        typer.Option("--bench", help="The bench file, TOML.", show_default=False),
    ] = None,
    sim: Annotated[bool, typer.Option("--sim", help="Start a simulated bench for the window.")] = False,
    sample: Annotated[str, typer.Option(help="Sample of the simulated bench: oam or ola.")] = "ola",
    seed: Annotated[int, typer.Option(min=0, help="Seed of the simulated bench.")] = 1,
    speed: Annotated[float, typer.Option(min=0.1, max=1000, help="Bench seconds per real second.")] = 1.0,
    output: Annotated[Path, typer.Option(help="Directory of the sweeps' files.")] = Path(),
) -> int:
    """Open the bench window: drive, sweep, watch, align.

    With run files alone it shows and compares them. Esc closes the shutter, whatever runs.
    """
    from labctl.gui.shell.app import check_display, run_window
    from labctl.model.errors import ConfigError

    if bench is not None and sim:
        raise ConfigError(
            "a bench file and a simulated bench together", key="--sim", hint="give only one of them"
        )
    if sample.lower() not in ("oam", "ola"):
        raise ConfigError(f"invalid sample {sample!r}; choose oam or ola", key="--sample")
    check_display()
    if not sim:
        return run_window(runs or [], bench, output)
    from labctl.cli.commands.demo import simulated_bench, wait_for

    with tempfile.TemporaryDirectory(prefix="labctl-gui-") as folder:
        file = Path(folder) / "simulated-bench.toml"
        with simulated_bench(sample.lower(), file, seed=seed, speed=speed) as process:
            import threading

            wait_for(file, process, threading.Event())
            return run_window(
                runs or [],
                file,
                output,
                lambda: "the simulated bench has ended" if process.poll() is not None else "",
            )
