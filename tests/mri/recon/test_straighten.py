"""Files of gradient coefficients, and images put straight by them."""

import numpy as np
import pytest

from scanroom.core.errors import FormatError
from scanroom.core.result import Result
from scanroom.mri.recon.straighten import read_coefficients, straightened

FILE = """ # Siemens-like coefficients
 win_low = 0, win_high = 0, win_algo = 0, win_dummy = 2;
 0.25 m = R0, lnorm = 4? A(1,0) = B(1,1) = A(1,1) = 0;
 0 = CoSyMode,
 Expansion in Spherical Harmonics
 ================================
   NO.  TYPE          SPECTRUM                 AXIS

   1   A( 3, 0)      -0.08                      z
   2   A( 5, 0)       1.5e-02                   z
 101   A( 3, 1)      -0.05                      x
 151   B( 3, 1)      -0.05                      y
"""


@pytest.fixture
def file(tmp_path):
    path = tmp_path / "coeff.grad"
    path.write_text(FILE)
    return str(path)


@pytest.mark.parametrize("z", [-0.2, 0.1, 0.23])
def test_on_the_axis_legendre_polynomials_are_one(file, z):
    seen = read_coefficients(file)(np.array([[0.0, 0.0, z]]))[0, 2]
    assert seen == pytest.approx(z - 0.08 * z**3 / 0.25**2 + 0.015 * z**5 / 0.25**4, rel=1e-12)


def test_degree_one_is_that_of_the_maker(file):
    # P_31 = -3/2 sin (5 cos^2 - 1); (-1) sqrt(7 2! / (2 4!)) = -sqrt(7/24): on the x axis
    # 0.25 (x / 0.25)^3 x -0.05 x -sqrt(7/24) x -3/2 x -1
    x = 0.12
    seen = read_coefficients(file)(np.array([[x, 0.0, 0.0]]))[0, 0]
    added = 0.25 * (x / 0.25) ** 3 * -0.05 * np.sqrt(7 / 24) * -1.5
    assert seen == pytest.approx(x + added, rel=1e-12)


def test_a_line_comes_back_to_its_place(file):
    n, pixel = 128, 3e-3
    affine = np.diag([pixel, pixel, pixel, 1.0])
    affine[:3, 3] = -pixel * (n // 2)
    true = np.zeros((1, 1, 3))
    true[0, 0, 0] = 0.17
    seen = read_coefficients(file)(true[0])[0, 0]
    index = (np.arange(n) - n // 2) * pixel
    image = np.exp(-(((index - seen) / 8e-3) ** 2))[None, None] * np.ones((1, n, 1))
    affine[2, 3] = 0.0
    result = Result(
        name="line", array=image.astype(np.float32), axes=("z", "y", "x"), affine=affine,
        unit="SNR", provenance={"steps": (), "slice_thickness": 5e-3},
    )  # fmt: skip
    straight = straightened(result, file)
    row = straight.array[0, n // 2]
    centre = float(row @ index / row.sum())
    assert centre == pytest.approx(0.17, abs=5e-4)
    assert abs(seen - 0.17) > 3e-3
    assert straight.unit == "a.u."


@pytest.mark.parametrize(
    "text", ["", "0.25 m = R0\n", "A( 3, 0) 0.1 z\n", "0 m = R0\nA( 3, 0) 0.1 z",
             "0.25 m = R0\nA( 3, 5) 0.1 z", "0.25 m = R0\nA( 99, 0) 0.1 z"],
)  # fmt: skip
def test_other_files_are_refused(tmp_path, text):
    (tmp_path / "x.grad").write_text(text)
    with pytest.raises(FormatError, match=r"Check the file"):
        read_coefficients(str(tmp_path / "x.grad"))


def test_a_missing_file_is_refused(tmp_path):
    with pytest.raises(FormatError, match="cannot be read"):
        read_coefficients(str(tmp_path / "absent.grad"))
