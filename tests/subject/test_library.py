"""The door to subjects."""

import numpy as np
import pytest

from scanroom.core.errors import FormatError, ProtocolError
from scanroom.subject import crop, load_subject, save_subject, subject_names


@pytest.mark.parametrize("name", ["acr", "asymmetric", "sphere"])
def test_built_in_subjects_have_what_the_twin_asks_for(name):
    subject = load_subject(name, 3.0, resolution=6e-3)
    assert {"proton_density", "t1", "t2", "t2_prime", "susceptibility"} <= set(subject.maps)
    shapes = {values.shape for values in subject.maps.values()}
    assert len(shapes) == 1
    for values in subject.maps.values():
        assert values.dtype == np.float32
        assert not np.isnan(values).any()


def test_names_are_listed():
    assert subject_names() == ("acr", "asymmetric", "brain", "sphere")


@pytest.mark.parametrize(
    ("name", "options"),
    [
        ("nobody", {}),
        ("sphere", {"colour": "red"}),
        ("sphere", {"tissue": "cheese"}),
        ("sphere", {"properties": ["taste"]}),
        ("sphere", {"region": ((1.0, 1.0, 1.0), (2.0, 2.0, 2.0))}),
    ],
)
def test_what_cannot_be_is_refused_in_one_line(name, options):
    with pytest.raises(ProtocolError) as caught:
        load_subject(name, 3.0, **options)
    assert "\n" not in str(caught.value)


def test_a_file_is_for_the_field_it_was_made_for(tmp_path):
    save_subject(load_subject("sphere", 3.0, resolution=8e-3), tmp_path / "ball.h5")
    assert load_subject(tmp_path / "ball.h5", 3.0).name == "sphere"
    with pytest.raises(ProtocolError, match=r"1\.5 T"):
        load_subject(tmp_path / "ball.h5", 1.5)


def test_a_broken_file_is_refused(tmp_path):
    (tmp_path / "x.h5").write_bytes(b"nothing")
    with pytest.raises(FormatError):
        load_subject(tmp_path / "x.h5", 3.0)


def test_cropping_before_or_after_is_the_same():
    corners = (-0.02, -0.03, 0.0), (0.04, 0.02, 0.03)
    whole = load_subject("asymmetric", 3.0, resolution=4e-3)
    after = crop(whole, *corners)
    before = load_subject("asymmetric", 3.0, resolution=4e-3, region=corners)
    assert np.array_equal(after.affine, before.affine)
    for name, values in after.maps.items():
        assert np.array_equal(values, before.maps[name])
