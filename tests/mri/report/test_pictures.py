"""Pictures stand as radiologists read them."""

import io

import numpy as np
import pytest
from PIL import Image

from scanroom.core.errors import FormatError
from scanroom.core.result import Result
from scanroom.mri.report.pictures import mosaic, sides, write_mosaic
from tests.formats.images import AXIAL, CORONAL, SAGITTAL, image, turn


def pixels(png):
    return np.asarray(Image.open(io.BytesIO(png)))


def bright_corner(directions, right, anterior, superior):
    """One slice, dark but for the corner that lies furthest that way."""
    result = image(directions, shape=(1, 32, 32), spacing=(1e-3, 1e-3, 3e-3))
    result.array[:] = 0.05
    z, y, x = np.indices(result.array.shape)
    place = np.einsum("ij,j...->i...", result.affine[:3, :3], np.stack([x, y, z]))
    toward = np.tensordot([right, anterior, superior], place, 1)
    result.array[toward >= np.quantile(toward, 0.95)] = 1.0
    return result


@pytest.mark.parametrize(
    ("directions", "toward", "corner"),
    [
        (AXIAL, (-1, 1, 0), "top right"),  # the left is on the right of the screen
        (AXIAL @ np.diag([-1, -1, 1]), (-1, 1, 0), "top right"),
        (AXIAL[:, [1, 0, 2]], (1, -1, 0), "bottom left"),
        (CORONAL, (1, 0, 1), "top left"),
        (CORONAL[:, [1, 0, 2]], (-1, 0, -1), "bottom right"),
        (SAGITTAL, (0, 1, 1), "top left"),  # the nose looks to the left
        (SAGITTAL @ np.diag([-1, 1, 1]), (0, -1, 1), "top right"),
    ],
)
def test_the_corner_of_the_body_is_where_radiologists_expect_it(directions, toward, corner):
    picture = pixels(mosaic(bright_corner(directions, *toward))).astype(float)
    picture = picture[: picture.shape[1]]  # the square above the caption
    half = picture.shape[0] // 2
    quarters = {
        "top left": picture[:half, :half],
        "top right": picture[:half, half:],
        "bottom left": picture[half:, :half],
        "bottom right": picture[half:, half:],
    }
    assert max(quarters, key=lambda name: quarters[name].mean()) == corner


def test_letters_name_the_sides():
    left, posterior, superior = np.eye(3)
    assert sides(left, posterior) == ("R", "L", "A", "P")
    assert sides(left, -superior) == ("R", "L", "S", "I")
    assert sides(posterior, -superior) == ("A", "P", "S", "I")
    tilted = turn(0, 0, 20)  # about the long axis
    assert sides(tilted @ left, tilted @ posterior) == ("RA", "LP", "AL", "PR")
    assert sides(turn(0, 0, 5) @ left, posterior)[0] == "R"  # too little to name


def test_a_large_volume_makes_a_small_file(tmp_path):
    result = image(AXIAL, shape=(64, 64, 64), spacing=(2e-3, 2e-3, 2e-3))
    path = write_mosaic(result, tmp_path / "a.png")
    assert path.stat().st_size < 1_500_000  # mail takes it
    with Image.open(path) as picture:
        assert picture.mode == "L"
        assert picture.width < 1600  # fits a screen


def test_bright_voxels_do_not_darken_the_picture():
    result = image(AXIAL, shape=(1, 64, 64))
    result.array[:] = 1.0
    calm = pixels(mosaic(result)).mean()
    result.array[0, 0, 0] = 1000.0
    assert pixels(mosaic(result)).mean() == pytest.approx(calm, rel=0.05)  # one voxel, its letters


def test_the_same_image_gives_the_same_picture():
    assert mosaic(image(AXIAL)) == mosaic(image(AXIAL))


def test_nothing_but_zeros_is_black_not_an_error():
    result = image(AXIAL)
    result.array[:] = 0
    assert pixels(mosaic(result)).mean() < 20  # only letters shine


def test_what_is_no_stack_is_refused():
    bad = Result(name="x", array=np.zeros((2, 2)), axes=("y", "x"), affine=np.eye(4), unit="")
    with pytest.raises(FormatError, match="axes"):
        mosaic(bad)
