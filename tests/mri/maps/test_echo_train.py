"""T2 of trains with stimulated echoes."""

import numpy as np
import pytest

from scanroom.core.errors import ProtocolError
from scanroom.mri.maps.decay import decay
from scanroom.mri.maps.dictionary import match
from scanroom.mri.maps.echo_train import Train, t2_of_train, train_dictionary
from validation import mri_maps_relaxation as validation

PLACE = np.linspace(-1.2, 1.2, 11)
PROFILE = np.exp(-3 * PLACE**2)
TRAIN = Train(
    spacing=10e-3,
    excitation=np.pi / 2 * PROFILE,
    refocusing=np.tile(np.pi * PROFILE, (16, 1)),
)


@pytest.fixture(scope="module")
def dictionary():
    return train_dictionary(TRAIN, b1=(0.5, 1.2))


def test_phase_graphs_give_their_t2_and_b1():
    # Half of it is what the compression leaves, half the splines.
    assert validation.stimulated() <= 2e-5


def test_a_slice_profile_is_taken_into_account(dictionary):
    truth = np.array([(t2, b1) for t2 in (0.03, 0.08, 0.2) for b1 in (0.7, 0.9, 1.1)])
    signal = np.stack([100 * TRAIN.signal(t2, b1) for t2, b1 in truth], axis=1)
    found = t2_of_train(np.abs(signal), dictionary)
    np.testing.assert_allclose(found.t2.array, truth[:, 0], rtol=2e-4)
    np.testing.assert_allclose(found.b1.array, truth[:, 1], rtol=2e-4)
    plain = decay(np.abs(signal), 10e-3 * np.arange(1, 17), name="T2").time
    assert (plain.array > 1.1 * truth[:, 0]).all()


def test_the_error_is_the_spread(dictionary):
    rng = np.random.default_rng(2)
    signal = 400 * TRAIN.signal(0.08, 0.85)
    found = t2_of_train(signal[:, None] + rng.normal(size=(16, 3000)), dictionary, noise=1.0)
    assert found.t2.valid.mean() > 0.99
    # A spread of 3000 is known to 1.3 %.
    assert found.t2.array.std() == pytest.approx(found.t2.error.mean(), rel=0.06)


def test_the_floor_of_magnitudes_is_gone_with_rice(dictionary):
    """What is left is what noise without a floor does to the fit as well."""
    rng = np.random.default_rng(4)
    level = 15 * TRAIN.signal(0.03, 1.0)[:, None] / TRAIN.signal(0.03, 1.0)[0]
    noise = rng.normal(size=(2, 16, 3000))
    signed = match(dictionary.compressed(level + noise[0]), dictionary, n_starts=2)
    plain = dictionary.axes[0].at(signed.place[:, 0])[0].mean()
    bias = {}
    for rician in (False, True):
        magnitude = np.hypot(level + noise[0], noise[1])
        found = t2_of_train(magnitude, dictionary, noise=1.0, rician=rician).t2
        bias[rician] = abs(found.array[found.valid].mean() - plain) / 0.03
    # Means of 3000 with a spread of a tenth: known to 0.2 %.
    assert bias[True] < 0.005
    assert bias[False] > 0.05


def test_what_cannot_be_is_refused(dictionary):
    with pytest.raises(ProtocolError, match="times above 0"):
        Train(spacing=0.0, excitation=np.ones(3), refocusing=np.ones((4, 3)))
    with pytest.raises(ProtocolError, match="16 samples"):
        t2_of_train(np.ones((5, 1)), dictionary)
    with pytest.raises(ProtocolError, match="needs the noise"):
        t2_of_train(np.ones((16, 1)), dictionary, rician=True)
