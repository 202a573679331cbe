"""``labctl spectrum``: one spectrum, in the terminal and in files."""

from __future__ import annotations

import json
from pathlib import Path

import numpy as np
import pytest

from labctl.cli import main
from labctl.config import parse_bench
from labctl.model.clock import ScaledClock, SteppedClock
from labctl.session.spectrum import take_spectrum
from simulators import presets
from simulators.bench import SimulatedBench


def test_a_spectrum_is_shown_and_saved(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    with SimulatedBench(presets.scene("ola", "typical", seed=3), ScaledClock(1.0)) as bench:
        file = tmp_path / "sim.toml"
        file.write_text(bench.bench_toml(1.0), encoding="utf-8")
        shown = ["spectrum", "--bench", str(file), "--integration", "50ms", "--average", "3"]
        assert main([*shown, "--output", str(tmp_path / "look")]) == 0
        text = capsys.readouterr().out
        assert bench.scene.shutter.closed_switch()
        assert main([*shown, "--output", str(tmp_path / "look")]) == 2
        assert "exists already" in capsys.readouterr().err
        resource = bench.resources["spectrometer"]
        assert main(["spectrum", "--resource", resource, "--integration", "0.02", "--json"]) == 0
        document = json.loads(capsys.readouterr().out)
    assert "3 exposures of 0.05 s" in text
    assert "#" in text.splitlines()[11]
    assert (tmp_path / "look.png").read_bytes().startswith(b"\x89PNG")
    lines = (tmp_path / "look.csv").read_text(encoding="utf-8").splitlines()
    assert lines[0].startswith("# raw counts of Ocean Insight FX")
    assert lines[1] == "wavelength_nm,counts,counts_standard_error"
    assert np.loadtxt(lines[2:], delimiter=",").shape == (2136, 3)
    assert (document["integration_s"], document["exposures"], document["clipped_pixels"]) == (0.02, 1, 0)


@pytest.mark.parametrize(
    ("light", "expected_s"),
    [(1e4, pytest.approx(2.0)), (1e6, pytest.approx(0.0393, rel=0.3)), (1e9, pytest.approx(3.9e-5, rel=0.7))],
)
def test_the_exposure_time_suits_the_light(
    monkeypatch: pytest.MonkeyPatch, light: float, expected_s: object
) -> None:
    """Counts that grow with the time, up to the end of the scale."""
    clock = SteppedClock()
    with SimulatedBench(presets.scene("ola", "ideal", seed=3), clock) as bench:
        rng = np.random.default_rng(1)

        def expose(start_s: float, integration_s: float) -> object:
            top = np.linspace(0.1, 1.0, bench.scene.camera.pixels) * light * integration_s
            return np.minimum(rng.poisson(top), 65535).astype(np.uint16)

        monkeypatch.setattr(bench.scene.camera, "expose", expose)
        taken = take_spectrum(parse_bench(bench.bench_toml(1.0)), clock=clock)
    assert taken.integration_s == expected_s
    assert taken.clipped == 0


def test_saturated_pixels_are_counted(monkeypatch: pytest.MonkeyPatch) -> None:
    clock = SteppedClock()
    with SimulatedBench(presets.scene("ola", "ideal", seed=3), clock) as bench:
        rng = np.random.default_rng(1)

        def expose(start_s: float, integration_s: float) -> object:
            counts = rng.integers(100, 200, bench.scene.camera.pixels).astype(np.uint16)
            counts[700:710] = 65535
            return counts

        monkeypatch.setattr(bench.scene.camera, "expose", expose)
        assert take_spectrum(parse_bench(bench.bench_toml(1.0)), 0.01, clock=clock).clipped == 10


@pytest.mark.parametrize("options", [[], ["--resource", "first", "--bench", "b.toml"]])
def test_it_takes_a_bench_or_a_resource(options: list[str], capsys: pytest.CaptureFixture[str]) -> None:
    assert main(["spectrum", *options]) == 2
    assert "--resource first" in capsys.readouterr().err
