"""Run-length code of shapes: the example of the specification and pypulseq's packer."""

from types import SimpleNamespace

import numpy as np
import pypulseq
import pytest

from scanroom.mri.drive.seqfile.sections import Section, Source
from scanroom.mri.drive.seqfile.shapes import read_shapes


def section(packed, count):
    lines = ["shape_id 1", f"num_samples {count}", *(repr(float(v)) for v in packed)]
    return Section("SHAPES", 1, lines, list(range(2, 2 + len(lines))))


def test_example_of_the_specification():
    packed = [0, 0.1, 0.15, 0.25, 0.5, 0.0, 0.0, 4, -0.25, -0.25, 2]
    shape = read_shapes(section(packed, 15), Source("x"), stored=True)[1]
    wanted = [0, 0.1, 0.25, 0.5, *([1.0] * 7), 0.75, 0.5, 0.25, 0]
    np.testing.assert_allclose(shape, wanted, atol=1e-15)


@pytest.mark.parametrize("stored", [True, False])
def test_undoes_what_pypulseq_packs(stored):
    rng = np.random.default_rng(3)
    for _ in range(50):
        plain = np.repeat(rng.integers(0, 4, 20) / 4, rng.integers(1, 9, 20)).astype(float)
        packed: SimpleNamespace = pypulseq.compress_shape.compress_shape(plain, not stored)
        ours = read_shapes(section(packed.data, packed.num_samples), Source("x"), stored=stored)
        np.testing.assert_allclose(ours[1], plain, atol=1e-12)
