"""Which pulse of a meter is that of a shot: proved or refused, never off by one."""

from __future__ import annotations

import numpy as np
import pytest

from labctl.analysis.shots.pairing import PairedEnergies, meter_pulses, pair_energies
from labctl.model.errors import DataError

DARK, LIGHT, FIRST = 300, 3000, 317


class Streams:
    """A burst of shots and a meter's pulses of the same light; the blade takes eight pulses."""

    def __init__(self, seed: int, cv: float = 0.1, order: int = 2, noise: float = 0.05) -> None:
        rng = self.rng = np.random.default_rng([seed, 9])
        total = FIRST + LIGHT + DARK
        self.true = np.zeros(total)
        self.true[FIRST : FIRST + LIGHT] = 1e-9 * (1 + 0.015 * rng.standard_normal(LIGHT))
        blade = (np.arange(8) + 1) / 9
        self.true[FIRST : FIRST + 8] *= blade
        self.true[FIRST + LIGHT - 8 : FIRST + LIGHT] *= blade[::-1]
        light = (self.true / 1e-9) ** order * np.maximum(1 + cv * rng.standard_normal(total), 0)
        self.pulse, self.signal = np.arange(total), light + noise * rng.standard_normal(total)
        seen = self.true > 0.3e-9  # the console's threshold of a peak
        self.first = int(np.flatnonzero(seen)[0])
        self.meter_pulse = np.flatnonzero(seen) - self.first
        self.energy = self.true[seen] * (1 + 0.003 * rng.standard_normal(int(seen.sum())))

    def pair(self) -> PairedEnergies:
        begins = FIRST + int(self.rng.integers(-40, 41))
        return pair_energies(self.pulse, self.signal, begins, self.meter_pulse, self.energy)

    def wrong(self, found: PairedEnergies) -> bool:
        """Return whether energies were given and one is that of another pulse."""
        if found.refused:
            return False
        known = np.isfinite(found.energy_j)
        off = found.energy_j[known] / self.true[self.pulse[known]] - 1
        return bool((np.abs(off) > 0.02).any())


def test_sound_streams_are_paired() -> None:
    for seed in range(30):
        streams = Streams(seed)
        found = streams.pair()
        assert not found.refused, (seed, found.refused)
        assert found.first_pulse == streams.first
        assert not streams.wrong(found)
        assert np.isnan(found.energy_j[:FIRST]).all()
        assert np.isfinite(found.energy_j).sum() > 0.5 * streams.meter_pulse.size


@pytest.mark.parametrize("where", ["meter", "shots"])
def test_no_shot_gets_the_energy_of_another_pulse_whose_stream_shifts_by_one_anywhere(where: str) -> None:
    wrong = 0
    for seed in range(100):
        streams = Streams(1000 + seed)
        at = int(streams.rng.integers(1, streams.meter_pulse.size - 1))
        if where == "meter":  # a pulse is lost, and those behind it are numbered as if it had not been there
            streams.energy = np.delete(streams.energy, at)
            streams.meter_pulse = streams.meter_pulse[:-1]
        else:
            place = streams.first + at
            streams.signal = np.delete(streams.signal, place)
            streams.true = np.delete(streams.true, place)
            streams.pulse = streams.pulse[:-1]
        wrong += streams.wrong(streams.pair())
    assert wrong == 0


def test_a_loss_that_times_show_costs_only_its_own_shots() -> None:
    for seed in range(20):
        streams = Streams(2000 + seed)
        gap = slice(1200, 1250)
        streams.meter_pulse = np.delete(streams.meter_pulse, gap)
        streams.energy = np.delete(streams.energy, gap)
        found = streams.pair()
        assert not found.refused
        assert not streams.wrong(found)
        assert np.isnan(found.energy_j[streams.first + 1200 : streams.first + 1250]).all()


def test_dim_shots_prove_nothing() -> None:
    refused = 0
    for seed in range(20):
        streams = Streams(3000 + seed, noise=20.0)
        found = streams.pair()
        assert not streams.wrong(found)
        refused += bool(found.refused)
    assert refused == 20


def test_without_the_dark_on_both_sides_nothing_is_paired() -> None:
    streams = Streams(1)
    keep = streams.pulse < FIRST + LIGHT - 100
    streams.pulse, streams.signal = streams.pulse[keep], streams.signal[keep]
    assert "dark" in streams.pair().refused
    few = pair_energies(streams.pulse, streams.signal, FIRST, streams.meter_pulse[:50], streams.energy[:50])
    assert "too few" in few.refused
    assert np.isnan(few.energy_j).all()


def test_pulses_of_a_meter_are_numbered_through_losses_and_wraps() -> None:
    true = np.delete(np.arange(4000), [5, 6, 7, 2000])
    times = (np.rint(true * 1000.07) + (1 << 32) - 1_000_000).astype(np.int64) % (1 << 32)
    assert (meter_pulses(times, 1000.0) == true).all()
    with pytest.raises(DataError, match="repetition rate"):
        meter_pulses(np.array([0, 1000, 2000, 2400, 3000]), 1000.0)
