"""Where the body is: rotation, stretch and shift as a function of time."""

from dataclasses import dataclass

import numpy as np
from jaxtyping import Float
from scipy.spatial.transform import Rotation

from scanroom.core.errors import ProtocolError
from scanroom.core.units import Metre, Second

_FARTHEST: Metre = 0.5


@dataclass(frozen=True, slots=True, kw_only=True, eq=False)
class Motion:
    """Poses at given times, followed linearly from one to the next and held after the last.

    ``shift`` [m], ``rotation`` [rad, a rotation vector] and ``stretch`` (1: none, each axis) act
    about ``centre``: a point that rests at r is found at
    ``centre + R diag(stretch) (r - centre) + shift``. With a ``period`` the poses repeat; the first
    and the last must then be the same.
    """

    time: Float[np.ndarray, " pose"]
    shift: Float[np.ndarray, "pose 3"]
    rotation: Float[np.ndarray, "pose 3"]
    stretch: Float[np.ndarray, "pose 3"]
    centre: tuple[Metre, Metre, Metre] = (0.0, 0.0, 0.0)
    period: Second | None = None

    def __post_init__(self) -> None:
        rows = (self.shift, self.rotation, self.stretch)
        finite = all(np.isfinite(values).all() for values in (self.time, *rows))
        if not (len(self.time) and finite and (np.diff(self.time) > 0).all()):
            raise ProtocolError(
                "poses of a motion may be at one or more finite times that increase "
                "(scanroom.physics.motion). Sort them and leave out what is twice."
            )
        if np.abs(self.shift).max() > _FARTHEST or not (self.stretch > 0).all():
            raise ProtocolError(
                f"a motion shifts by up to {np.abs(self.shift).max():.3g} m and stretches by "
                f"{self.stretch.min():.3g} at least; it may shift by {_FARTHEST} m and stretch by "
                "more than 0 (scanroom.physics.motion). Give metres and ratios."
            )
        if self.period is not None and not (
            self.period >= self.time[-1] - self.time[0] > 0
            and all(np.allclose(values[0], values[-1]) for values in rows)
        ):
            raise ProtocolError(
                f"a motion of {self.time[-1] - self.time[0]:.4g} s repeats every {self.period} s; "
                "it may repeat after its end, and must end as it began (scanroom.physics.motion). "
                "Add the first pose at the end."
            )


def breathing(
    depth: tuple[Metre, Metre, Metre], period: Second, *, duty: int = 2, n_poses: int = 33
) -> Motion:
    """Breathe: rest at the end of expiration, ``depth`` away at the height of inspiration.

    The course is ``sin(pi t / period)^(2 duty)``.

    References
    ----------
    A. E. Lujan et al., Med. Phys. 26, 715 (1999), doi:10.1118/1.598577.
    """
    time = np.linspace(0.0, period, n_poses)
    course = np.sin(np.pi * time / period) ** (2 * duty)
    return Motion(
        time=time,
        shift=np.outer(course, depth),
        rotation=np.zeros((n_poses, 3)),
        stretch=np.ones((n_poses, 3)),
        period=period,
    )


def pose(
    motion: Motion, time: Float[np.ndarray, " time"]
) -> tuple[Float[np.ndarray, "time 3 3"], Float[np.ndarray, "time 3"]]:
    """Matrix and shift [m] that take a resting point to where it is."""
    at = np.asarray(time, np.float64)
    if motion.period is not None:
        at = motion.time[0] + (at - motion.time[0]) % motion.period

    def course(values: np.ndarray) -> np.ndarray:
        return np.stack([np.interp(at, motion.time, column) for column in values.T], axis=1)

    turned = Rotation.from_rotvec(course(motion.rotation)).as_matrix()
    matrix = turned * course(motion.stretch)[:, None, :]
    centre = np.array(motion.centre)
    return matrix, course(motion.shift) + centre - matrix @ centre


def knots(motion: Motion, end: Second) -> Float[np.ndarray, " knot"]:
    """Times up to ``end`` at which the course bends [s]."""
    if motion.period is None:
        return np.asarray(motion.time[(motion.time > 0) & (motion.time < end)])
    turns = np.arange(-1, np.ceil((end - motion.time[0]) / motion.period) + 1)
    times = np.unique((motion.time[None, :] + turns[:, None] * motion.period).ravel())
    return np.asarray(times[(times > 0) & (times < end)])
