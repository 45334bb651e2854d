"""Diffusion: truths, the engines among themselves, and what may not be asked for."""

import dataclasses

import numpy as np
import pytest

from scanroom.core.errors import ProtocolError
from scanroom.mri.drive.model import Drive
from scanroom.mri.system import system
from scanroom.mri.twin import IDEAL, Effort, Faults, Twin
from scanroom.mri.twin.sampling import TENSOR
from scanroom.physics.spins.classes import tissues
from scanroom.physics.spins.engine import Settings
from scanroom.subject.model import Subject
from validation.drives import cleared, drive, gradient, sinc
from validation.mri_diffusion import CASES

SHAPE = (6, 6, 12)
DIFFUSING = dataclasses.replace(IDEAL, diffusion=True)
FINE = Settings(faintest=1e-5, error=1e-4)


@pytest.mark.parametrize(
    ("case", "bound"), [pytest.param(case[1], case[2], id=case[0]) for case in CASES]
)
def test_diffusion_meets_its_truth(case, bound):
    assert case() <= bound


def _subject(**maps: np.ndarray) -> Subject:
    """Three tissues, one beside the other, that differ in how they diffuse."""
    x = np.broadcast_to(np.arange(SHAPE[0])[:, None, None], SHAPE)
    given = {
        "proton_density": np.ones(SHAPE),
        "t1": np.full(SHAPE, 1.0),
        "t2": np.full(SHAPE, 0.08),
        "diffusion": np.array([0.7e-9, 1e-9, 3e-9])[x // 2],
    }
    affine = np.diag([2e-3, 2e-3, 1e-3, 1.0])
    affine[:3, 3] = -np.diag(affine)[:3] * (np.array(SHAPE) - 1) / 2
    maps = {name: value.astype(np.float32) for name, value in (given | maps).items()}
    return Subject(name="three", field=3.0, affine=affine, maps=maps)


def _weighted(size: float = 1.2e6) -> Drive:
    """A slice of 4 mm, excited; a lobe along x, crushers and a refocusing pulse; an echo."""
    select = 2000.0 / 4e-3
    rise, lobe = 1e-4, [(3e-3, 0.0), (3.4e-3, size), (11e-3, size), (11.4e-3, 0.0)]
    knots = [(0.0, 0.0)]
    for at in (0.0, 15e-3):
        knots += [(at + 1e-5, select), (at + 2e-3, select), (at + 2e-3 + rise, 0.0)]
        knots += [(at + 15e-3 - rise, 0.0)] if at == 0 else []
    later = [(time + 15e-3, value) for time, value in lobe]
    made = drive(
        pulses=[(0.0, 0.0, 0.0), (15e-3, 0.0, np.pi / 2)],
        windows=[(30.7e-3, 64)],
        gradients=(
            gradient((0.0, 0.0), *lobe, *later, (30e-3, 0.0), (30.1e-3, 2e5), (32e-3, 2e5)),
            gradient(),
            gradient(*knots),
        ),
        shape=sinc(np.pi / 2),
    )
    shapes = (sinc(np.pi / 2), sinc(np.pi))
    return dataclasses.replace(
        made, shapes=shapes, pulses=dataclasses.replace(made.pulses, shape=np.array([0, 1]))
    )


def _signal(engine: str, faults: Faults = DIFFUSING, subject: Subject | None = None) -> np.ndarray:
    effort = Effort(engine=engine, step=0.1, settings=FINE)
    twin = Twin(subject or _subject(), system=system("3T"), faults=faults, n_coils=2, effort=effort)
    twin.arm(cleared(_weighted()))
    return next(twin.play()).signal


def test_classes_diffuse_as_boxes_do(monkeypatch):
    """What diffusion takes away; the slice itself differs by 0.5 % with nodes so near."""
    monkeypatch.setattr("scanroom.physics.spins.classes._TURNS", 0.1)
    taken = [_signal(engine, IDEAL) - _signal(engine) for engine in ("continuum", "classes")]
    whole = np.linalg.norm(_signal("continuum"))
    assert np.linalg.norm(taken[0]) > 0.05 * whole
    assert np.linalg.norm(taken[1] - taken[0]) < 1e-3 * whole


def test_tissues_that_differ_in_diffusion_alone_are_not_mixed_of_each_other():
    """Three on one line: the middle one is a tissue itself, not a mean of the others."""
    one, still = np.ones(3, np.float32), np.zeros(3, np.float32)
    _, kind, tissue, share, _ = tissues(one, one, still, np.float32([0.7e-9, 1e-9, 3e-9]))
    assert np.array_equal(tissue[kind, 0], [0, 1, 2])
    assert np.array_equal(share[kind, 0], one)


def test_a_round_tensor_is_a_coefficient():
    plain = _subject()
    maps = {name: np.zeros(SHAPE) for name in TENSOR}
    maps |= dict.fromkeys(TENSOR[:3], plain.maps["diffusion"])
    same = _signal("continuum", subject=_subject(**maps))
    assert same == pytest.approx(_signal("continuum"), rel=1e-5)


def test_a_subject_that_does_not_say_how_it_diffuses_stays_at_rest():
    plain = _subject()
    maps = {name: value for name, value in plain.maps.items() if name != "diffusion"}
    still = dataclasses.replace(plain, maps=maps)
    assert np.array_equal(_signal("auto", subject=still), _signal("auto", IDEAL, still))


def test_what_cannot_diffuse_is_refused_in_one_line():
    with pytest.raises(ProtocolError, match="Take a subject at rest") as caught:
        _signal("isochromats")
    assert "\n" not in str(caught.value)
    with pytest.raises(ProtocolError, match="Switch one of them off"):
        dataclasses.replace(DIFFUSING, concomitant=True)
    flows = _subject(velocity_z=np.full(SHAPE, 0.1))
    with pytest.raises(ProtocolError, match="Take a subject at rest"):
        _signal("auto", subject=flows)
