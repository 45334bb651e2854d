"""Gridded and direct readout against the sum over spins in double precision."""

import dataclasses

import numpy as np
import pytest

from scanroom.physics.spins.engine import Control, Settings, simulate
from scanroom.physics.spins.ensemble import Spins
from validation.mri_bloch_truths import Timeline

GRADIENT = np.array([2e5, -4e4, 1e4])
DWELL, N_SAMPLES = 1e-5, 200


def _spins(n=3000, n_coils=3, t2=(0.03, 0.2)):
    rng = np.random.default_rng(5)
    weight = rng.normal(size=(n, n_coils)) + 1j * rng.normal(size=(n, n_coils))
    return Spins(
        position=rng.uniform(-0.1, 0.1, (n, 3)),
        offset=rng.normal(0, 40, n),
        r1=np.full(n, 1.0, np.float32),
        r2=(1 / rng.uniform(*t2, n)).astype(np.float32),
        transmit=np.ones(n, np.complex64),
        weight=weight.astype(np.complex64),
    )


def _program(*, steady=True):
    line = Timeline().pulse(np.pi / 2).free(2e-3, -GRADIENT * DWELL * N_SAMPLES / 2)
    program = line.window(N_SAMPLES, DWELL, GRADIENT).program()
    window = dataclasses.replace(program.windows[0], steady=steady)
    return dataclasses.replace(program, windows=(window,))


def _exact(spins):
    time = 2e-3 + (np.arange(N_SAMPLES) + 0.5) * DWELL
    moment = np.outer(time - 2e-3 - N_SAMPLES * DWELL / 2, GRADIENT)
    phase = -2j * np.pi * (moment @ spins.position.T + np.outer(time, spins.offset))
    return 1j * (np.exp(phase - np.outer(time, spins.r2)) @ spins.weight).T


def _error(found, truth):
    return np.linalg.norm(found - truth) / np.linalg.norm(truth)


def test_direct_readout_is_the_sum_over_spins():
    spins = _spins()
    found = next(simulate(_program(steady=False), spins))
    assert _error(found, _exact(spins)) < 1e-3  # the 1 us pulse leaves off-resonance up to 1e-3


def test_gridded_readout_agrees_with_direct_readout():
    spins = _spins()
    found = next(simulate(_program(), spins))
    truth = next(simulate(_program(steady=False), spins))
    assert _error(found, truth) < 3e-5  # kernel of width 6 at twofold oversampling: about 1e-5


def test_fast_decay_is_not_gridded_and_stays_right():
    spins = _spins(t2=(0.2e-3, 0.2))
    found = next(simulate(_program(), spins))
    truth = next(simulate(_program(steady=False), spins))
    assert _error(found, truth) < 1e-4


@pytest.mark.parametrize("n_coils", [1, 8, 13])
def test_any_number_of_coils_gives_the_same_signal_per_coil(n_coils):
    spins = _spins(500, 13)
    few = dataclasses.replace(spins, weight=spins.weight[:, :n_coils])
    found, all_coils = next(simulate(_program(), few)), next(simulate(_program(), spins))
    assert found.shape == (n_coils, N_SAMPLES)
    assert np.array_equal(found, all_coils[:n_coils])


@pytest.mark.parametrize("steady", [True, False])
def test_one_thread_and_two_give_the_same_bytes(steady):
    spins = _spins(20_000)
    one, two = (
        next(simulate(_program(steady=steady), spins, Settings(threads=n))).tobytes()
        for n in (1, 2)
    )
    assert one == two


def test_signal_is_linear_in_proton_density():
    spins = _spins()
    double = dataclasses.replace(spins, weight=2 * spins.weight)
    found, twice = next(simulate(_program(), spins)), next(simulate(_program(), double))
    assert np.array_equal(2 * found, twice)  # a power of two is exact


def test_order_of_spins_changes_rounding_only():
    spins = _spins()
    back = Spins(**{f.name: getattr(spins, f.name)[::-1] for f in dataclasses.fields(spins)})
    found, turned = next(simulate(_program(), spins)), next(simulate(_program(), back))
    assert _error(turned, found) < 1e-5


def test_a_set_stop_ends_the_simulation():
    control = Control()
    control.stop[0] = 1
    assert list(simulate(_program(), _spins(), control=control)) == []


def test_progress_rises_to_one():
    seen = []
    list(simulate(_program(), _spins(), control=Control(progress=seen.append)))
    assert seen == sorted(seen)
    assert seen[-1] == 1.0
