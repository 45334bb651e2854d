"""T1 of inversion recovery against stepwise recovery."""

import numpy as np
import pytest

from scanroom.core.errors import ProtocolError
from scanroom.mri.maps.inversion import inversion_recovery, look_locker
from validation import map_laws as laws
from validation import mri_maps_relaxation as validation

TI = validation.TI


@pytest.mark.parametrize(
    "case",
    [
        validation.recovery_magnitude,
        validation.recovery_complex,
        validation.recovery_repeated,
        validation.look_locker_by_flip,
        validation.look_locker_by_ratio,
    ],
)
def test_signals_without_noise_give_their_t1(case):
    assert case() <= 1e-6


def test_the_spread_of_magnitudes_is_that_of_cramer_and_rao():
    def law(t1, efficiency, amplitude):
        return laws.recovery(TI, t1, efficiency, amplitude)

    bias, spread, reported = laws.spread(
        law,
        (1.0, 0.95, 50.0),
        1.0,
        lambda data: inversion_recovery(np.abs(data), TI, noise=1.0),
    )
    # 4000 voxels: a spread is known to 1.1 %, a mean to 0.016 standard errors.
    assert abs(bias) < 0.1
    assert spread == pytest.approx(1.0, abs=0.05)
    assert reported == pytest.approx(1.0, abs=0.05)


def test_the_ratio_of_look_and_locker_knows_its_error():
    def signal(t1, share, amplitude):
        return amplitude * (1 - (1 + 1 / share) * np.exp(-TI / (share * t1)))

    bias, spread, reported = laws.spread(
        signal,
        (1.0, 0.7, 100.0),
        1.0,
        lambda data: look_locker(data, TI, signed=True, noise=1.0),
    )
    assert abs(bias) < 0.1
    assert spread == pytest.approx(1.0, abs=0.05)
    assert reported == pytest.approx(1.0, abs=0.05)


def test_order_of_the_images_does_not_matter():
    signal = np.abs(laws.recovery(TI, 0.7, 0.9, 100.0))[:, None]
    mixed = [3, 0, 5, 1, 4, 2]
    found = inversion_recovery(signal[mixed], TI[mixed])
    assert found.array[0] == pytest.approx(0.7, rel=1e-9)


def test_what_cannot_be_is_refused():
    signal = laws.recovery(TI, 0.7, 0.9, 100.0)[:, None]
    with pytest.raises(ProtocolError, match="negative values"):
        inversion_recovery(signal, TI)
    with pytest.raises(ProtocolError, match="without a repetition time"):
        inversion_recovery(np.abs(signal), TI, perfect=True)
    with pytest.raises(ProtocolError, match="longer than its inversion time"):
        inversion_recovery(np.abs(signal), TI, repetition_times=1.0)
    with pytest.raises(ProtocolError, match="complex"):
        look_locker(signal + 0j, TI)
    with pytest.raises(ProtocolError, match="90 degrees"):
        look_locker(np.abs(signal), TI, readout=(2.0, 0.01))
