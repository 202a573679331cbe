"""``labctl spectrum``: take one spectrum, show it in the terminal, and save it."""

from __future__ import annotations

from pathlib import Path
from typing import TYPE_CHECKING, Annotated

import typer

from labctl.cli.common import Json
from labctl.cli.output import write_json, write_lines
from labctl.cli.signals import stop_on_signals

if TYPE_CHECKING:
    from drivers.support.spec import DriverConfig
    from labctl.session.spectrum import Snapshot

COLUMNS, ROWS = 72, 12


def _seconds(text: str) -> float:
    from labctl.config.units import typed

    try:
        seconds = typed(text, "time", "s")
    except ValueError:
        raise typer.BadParameter(f"{text!r} is not a time; write it as 0.1, 100ms or 2s") from None
    if seconds <= 0:
        raise typer.BadParameter("must be longer than 0")
    return seconds


def spectrum(
    bench: Annotated[
        Path | None, typer.Option("--bench", help="The bench file, TOML.", show_default="none")
    ] = None,
    resource: Annotated[
        str | None,
        typer.Option(
            help="Without a bench file: serial number of an Ocean spectrometer, first, or MODEL@HOST:PORT.",
            show_default="none",
        ),
    ] = None,
    integration: Annotated[
        float | None,
        typer.Option(
            metavar="TIME", parser=_seconds, help="Exposure time, e.g. 100ms.", show_default="by the light"
        ),
    ] = None,
    average: Annotated[int, typer.Option(min=1, max=1000, help="Number of exposures.")] = 1,
    output: Annotated[
        Path | None,
        typer.Option(help="Save NAME.csv and NAME.png; neither may be there.", show_default="save nothing"),
    ] = None,
    as_json: Json = False,
) -> int:
    """Take one spectrum of the light that there is, show it, and save it.

    Only the spectrometer is connected to; no shutter opens.
    """
    from labctl.model.errors import ConfigError

    if (bench is None) == (resource is None):
        raise ConfigError("give either --bench FILE or --resource first", key="--bench")
    files = () if output is None else (output.with_suffix(".csv"), output.with_suffix(".png"))
    for file in files:
        if file.exists():
            raise ConfigError("exists already", file=file, hint="another name")
    with stop_on_signals() as stop:
        from labctl.config import load_bench
        from labctl.runner.figures.spectrum import write_spectrum
        from labctl.session.spectrum import take_spectrum

        table = load_bench(bench) if bench is not None else _ocean(str(resource))
        taken = take_spectrum(table, integration, average, stop=stop)
    if files:
        write_spectrum(taken, *files)
    if as_json:
        write_json(_document(taken, files))
    else:
        write_lines([*_plot(taken), *_numbers(taken), *(f"saved {file}" for file in files)])
    return 0


def _ocean(resource: str) -> DriverConfig:
    from drivers import registry

    spec = registry.find("spectrometer", "ocean")
    return spec.config.model_validate({"driver": "ocean", "resource": resource})


def _document(taken: Snapshot, files: tuple[Path, ...]) -> dict[str, object]:
    peak_nm, peak_counts = taken.peak
    return {
        "identity": str(taken.info.identity),
        "at_utc": taken.at_utc,
        "integration_s": taken.integration_s,
        "exposures": taken.exposures,
        "peak_nm": peak_nm,
        "peak_counts": peak_counts,
        "median_counts": taken.level,
        "max_counts": taken.info.max_counts,
        "fwhm_nm": taken.width_nm,
        "clipped_pixels": taken.clipped,
        "temperature_c": taken.temperature_c,
        "files": [str(file) for file in files],
    }


def _numbers(taken: Snapshot) -> list[str]:
    from labctl.runner.figures.spectrum import described

    peak_nm, peak_counts = taken.peak
    share = peak_counts / taken.info.max_counts
    width = "" if taken.width_nm is None else f", width {taken.width_nm:.3g} nm (FWHM)"
    lines = [
        described(taken),
        f"highest {peak_counts:.0f} of {taken.info.max_counts:.0f} counts ({share:.0%}) at {peak_nm:.2f} nm"
        f"{width}; median {taken.level:.0f}",
    ]
    if taken.clipped:
        lines.append(f"SATURATED: {taken.clipped} pixels at the end of the scale; expose for a shorter time")
    return lines


def _plot(taken: Snapshot) -> list[str]:
    """Draw the highest counts of each column of the terminal."""
    import numpy as np

    axis = taken.info.wavelength_nm
    parts = np.array_split(taken.counts, min(COLUMNS, axis.size))
    tops = np.array([part.max() for part in parts])
    low, high = float(taken.counts.min()), float(max(taken.counts.max(), taken.counts.min() + 1.0))
    heights = np.rint((tops - low) / (high - low) * ROWS).astype(int)
    lines = []
    for row in range(ROWS, 0, -1):
        label = f"{high:.0f}" if row == ROWS else f"{low:.0f}" if row == 1 else ""
        lines.append(f"{label:>8} |" + "".join("#" if height >= row else " " for height in heights).rstrip())
    left, right = f"{axis[0]:.1f}", f"{axis[-1]:.1f} nm"
    lines.append(" " * 9 + "+" + "-" * len(parts))
    lines.append(" " * 10 + left + right.rjust(len(parts) - len(left)))
    return lines
