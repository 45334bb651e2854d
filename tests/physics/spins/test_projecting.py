"""The compiled sums: polynomials along slice, offset and transmit field are integrated exactly."""

import numpy as np
import pytest

from scanroom.physics.spins.classes import classes_of
from scanroom.physics.spins.images import at_once, ground_of
from scanroom.physics.spins.projecting import accumulate, project
from tests.physics.spins.test_classwise import _train, _voxels


def _along(place):
    return 1.0 + 200.0 * place - 6e4 * place**2 + 3e7 * place**3


def _integral(place):
    return place + 100.0 * place**2 - 2e4 * place**3 + 7.5e6 * place**4


def _fields(offset, strength):
    return (1 - 0.01 * offset) * (0.4 + strength - 0.7 * strength**2)


def _summed(classes, voxels, value, *, moment=0.0, every=1):
    ground = ground_of(voxels, classes)
    within = at_once(voxels, classes, 0.0, 1e-9)  # no time: neither decay nor phase
    right = np.zeros((len(value), 2 * 8), np.float32)
    right[:, 0], right[:, 8] = value.real, value.imag
    heard = np.ones(len(value), bool)
    sums = np.zeros((len(ground.place[::every]), 1, 2), np.complex64)
    project(
        (ground.order, ground.edge, every),
        (ground.fields, ground.weight, voxels.faint, classes.kind),
        (classes.number, classes.first, classes.step, classes.shift, classes.tissue, classes.share),
        (right, heard, *classes.reach_of(heard)),
        (within.late, within.opening, within.first, within.step),
        (np.zeros((1, 2), np.int64), moment, classes.thickness, 0.0),
        sums,
    )
    return sums[:, 0], ground


def _nodes(classes):
    """The polynomials at all nodes; places as pulses see them, moved by the offset."""
    spins = classes.nodes.spins
    seen = classes.height_of_nodes() + classes.shift * spins.offset
    return _along(seen) * _fields(spins.offset, np.abs(spins.transmit)), seen


def _columns(ground, values):
    return np.add.reduceat(values[ground.order], ground.edge[:-1], axis=0)


@pytest.fixture(scope="module")
def laid():
    voxels = _voxels(transmit=_voxels().transmit.real.astype(np.complex64))
    return voxels, classes_of(_train().program(), voxels, 2)


def test_a_cubic_along_the_slice_a_line_in_offset_and_a_parabola_in_transmit_are_exact(laid):
    voxels, classes = laid
    value, seen = _nodes(classes)
    assert len(np.unique(np.round(seen, 9))) > 8  # several nodes along the slice
    found, ground = _summed(classes, voxels, value + 0j)
    mean = (_integral(classes.high) - _integral(classes.low)) / (classes.high - classes.low)
    truth = _fields(voxels.offset, np.abs(voxels.transmit)) * mean
    sign = np.sign(voxels.transmit.real)
    truth = _columns(ground, voxels.weight * (truth * sign)[:, None])
    # The integral is by two of Gauss's points a piece, exact for cubics; sums in single precision.
    np.testing.assert_allclose(found, truth, rtol=2e-5, atol=2e-7)


def test_a_moment_across_the_slice_dims_uniform_voxels_as_a_sinc(laid):
    voxels, classes = laid
    moment = 700.0
    found, ground = _summed(
        classes, voxels, np.ones(len(classes.nodes.spins), complex), moment=moment
    )
    height = voxels.index @ voxels.affine[2, :3] + voxels.affine[2, 3]
    share = np.sinc(moment * classes.thickness) * np.exp(-2j * np.pi * moment * height)
    truth = _columns(ground, voxels.weight * (share * np.sign(voxels.transmit.real))[:, None])
    # Two of Gauss's points for a sixth of a turn: (pi / 3)^4 / 4320, 3e-4 of each piece.
    np.testing.assert_allclose(found, truth, atol=5e-4 * np.abs(truth).max())


def test_every_other_column_alone_is_what_it_is_among_all(laid):
    voxels, classes = laid
    value = _nodes(classes)[0] + 0j
    some, _ = _summed(classes, voxels, value, every=3)
    every, _ = _summed(classes, voxels, value)
    assert np.array_equal(some, every[::3])


def test_faint_voxels_take_the_nearest_nodes_in_offset_and_transmit(laid):
    voxels, _ = laid
    faint = _voxels(transmit=voxels.transmit, faint=np.ones(len(voxels.index), bool))
    classes = classes_of(_train().program(), faint, 2)
    value = np.ones(len(classes.nodes.spins), complex)
    found, ground = _summed(classes, faint, value)
    truth = _columns(ground, faint.weight * np.sign(voxels.transmit.real)[:, None])
    np.testing.assert_allclose(found, truth, rtol=1e-5, atol=1e-7)  # single precision


def test_accumulate_weighs_by_row_and_by_sample():
    rng = np.random.default_rng(0)

    def some(*shape):
        return (rng.standard_normal(shape) + 1j * rng.standard_normal(shape)).astype(np.complex64)

    total, values, left, along = some(3, 2, 7), some(2, 3, 7), some(3), some(7)
    truth = total + np.einsum("crt,r,t->rct", values, left, along)
    accumulate(total, values, left, along)
    np.testing.assert_allclose(total, truth, atol=1e-5)  # single precision
