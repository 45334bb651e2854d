"""Magnetic resonance fingerprints: T1 and T2 from a train that never comes to rest.

Every tissue gives its own course of signal over a schedule of flip angles. The courses of all
tissues lie close to a space of few dimensions. Images in that space are reconstructed from far too
little k-space for each single frame, and are found in the dictionary as they are.

References
----------
D. Ma et al., Nature 495, 187 (2013), doi:10.1038/nature11971.
Y. Jiang et al., Magn. Reson. Med. 74, 1621 (2015), doi:10.1002/mrm.25559 (unbalanced gradients).
B. Zhao et al., Magn. Reson. Med. 79, 933 (2018), doi:10.1002/mrm.26701 (subspace).
J. Asslaender et al., Magn. Reson. Med. 79, 83 (2018), doi:10.1002/mrm.26639 (low rank).
"""

from dataclasses import dataclass

import numpy as np
from jaxtyping import Complex, Float, Shaped

from scanroom.core.errors import ProtocolError
from scanroom.core.units import Hertz, Second
from scanroom.mri.maps import fitting
from scanroom.mri.maps.dictionary import Axis, Dictionary, build, maps_of, match
from scanroom.mri.maps.model import Map
from scanroom.operators.linear import Linear
from scanroom.operators.solvers import conjugate_gradients
from scanroom.physics.epg_trains import gradient_train

_N_ORDERS = 48
_N_T1, _N_T2 = 56, 48


@dataclass(frozen=True, slots=True, kw_only=True)
class Schedule:
    """What was played: angles and phases [rad] of the pulses, repetition times, one echo time.

    ``inversion_delay`` is from an inversion to the first pulse, None if there was none, and
    ``inverted`` the share that it inverts. Unbalanced gradients dephase by a turn in every
    repetition; with ``balanced`` none, and the signal hangs on the ``off_resonance``, here one for
    all. ``profile`` are flip angles over the nominal one at even places across the slice.
    """

    flip_angles: Float[np.ndarray, " pulse"]
    phases: Float[np.ndarray, " pulse"]
    repetition_times: Float[np.ndarray, " pulse"]
    echo_time: Second
    inversion_delay: Second | None = None
    inverted: float = 1.0
    balanced: bool = False
    off_resonance: Hertz = 0.0
    profile: tuple[float, ...] = (1.0,)

    def __post_init__(self) -> None:
        sizes = {len(self.flip_angles), len(self.phases), len(self.repetition_times)}
        late = len(sizes) > 1 or not (self.repetition_times > self.echo_time).all()
        if late or not self.echo_time >= 0:
            raise ProtocolError(
                f"a schedule has {len(self.flip_angles)} angles, {len(self.phases)} phases and "
                f"{len(self.repetition_times)} repetition times, an echo at "
                f"{self.echo_time:.4g} s; there is one of each for every pulse, the echo within "
                "the repetition (scanroom.mri.maps.fingerprint). Make them alike."
            )

    def signal(self, t1: Second, t2: Second, b1: float = 1.0) -> Complex[np.ndarray, " pulse"]:
        """Course of the signal, mean over the slice, for magnetisation of one."""
        delay = self.inversion_delay
        times = (
            float(self.echo_time),
            float(delay or 0.0),
            0.0 if delay is None else 1.0,
            float(self.inverted),
        )
        total = np.zeros(len(self.flip_angles), np.complex128)
        for share in self.profile:
            tissue = (float(t1), float(t2), float(share * b1), float(self.off_resonance))
            total += gradient_train(
                self.flip_angles,
                self.phases,
                self.repetition_times,
                times,
                tissue,
                1 if self.balanced else _N_ORDERS,
            )
        return np.asarray(total / len(self.profile))


@dataclass(frozen=True, slots=True, kw_only=True)
class Fingerprint:
    """T1, T2, and the magnetisation in equilibrium in the unit of the images, complex."""

    t1: Map
    t2: Map
    amplitude: Complex[np.ndarray, "..."]


def fingerprint_dictionary(
    schedule: Schedule,
    *,
    t1: tuple[Second, Second] = (0.05, 5.0),
    t2: tuple[Second, Second] = (5e-3, 2.5),
    b1: float = 1.0,
    lost: float = 1e-6,
) -> Dictionary:
    """Courses for ranges of T1 and T2, compressed to a rank that leaves ``lost`` of the energy."""
    axes = (
        Axis(name="T1", unit="s", low=t1[0], high=t1[1], n_points=_N_T1),
        Axis(name="T2", unit="s", low=t2[0], high=t2[1], n_points=_N_T2),
    )
    return build(axes, lambda one, two: schedule.signal(one, two, b1), lost=lost)


def find_fingerprints(
    images: np.ndarray,
    dictionary: Dictionary,
    *,
    compressed: bool = False,
    noise: float | np.ndarray | None = None,
) -> Fingerprint:
    """Find T1 and T2 from complex images, a frame for each pulse along the first axis.

    ``compressed`` images are coefficients of the dictionary's basis, as `subspace_images` gives
    them. Their noise is that of one frame, standard deviation of the real part, where frames are
    fully sampled; the error of undersampled ones is not known from it.

    Raises
    ------
    ProtocolError
        If there are not as many images as the dictionary has samples, or coefficients.
    """
    rank = dictionary.splines.shape[2]
    if compressed and len(images) != rank:
        raise ProtocolError(
            f"there are {len(images)} coefficients; the dictionary has {rank} "
            "(scanroom.mri.maps.fingerprint). Reconstruct with the basis of this dictionary."
        )
    n_samples, shape = len(dictionary.basis), images.shape[1:]
    coefficients = images if compressed else dictionary.compressed(images)
    if not np.isfinite(coefficients).all():
        raise ProtocolError(
            "the images hold numbers that are not finite (scanroom.mri.maps.fingerprint). Set "
            "the voxels to zero: they are then left out."
        )
    flat = coefficients.reshape(rank, -1).astype(np.complex128)
    found = match(flat, dictionary)
    within = (np.abs(flat) ** 2).sum(axis=0)
    total = within
    if not compressed:
        total = (np.abs(images.reshape(n_samples, -1)) ** 2).sum(axis=0, dtype=np.float64)
    left = np.maximum(total - within, 0) + found.left
    size = rank if compressed else n_samples
    sigma = fitting.per_voxel(noise, shape, "noise")
    t1, t2 = maps_of(found, dictionary, (left, total, size), sigma, shape)
    return Fingerprint(t1=t1, t2=t2, amplitude=found.amplitude.reshape(shape))


def subspace(basis: Shaped[np.ndarray, "frame rank"], image_shape: tuple[int, ...]) -> Linear:
    """From coefficient images [rank ...] to frames; with orthonormal columns ``gram`` is 1."""
    frames = np.ascontiguousarray(basis)

    def forward(x: np.ndarray) -> np.ndarray:
        return np.tensordot(frames.astype(x.dtype), x, 1)

    def adjoint(y: np.ndarray) -> np.ndarray:
        return np.tensordot(frames.conj().T.astype(y.dtype), y, 1)

    n_frames, rank = frames.shape
    return Linear(forward, adjoint, (rank, *image_shape), (n_frames, *image_shape))


def subspace_images(
    data: np.ndarray,
    encode: Linear,
    dictionary: Dictionary,
    *,
    n_iterations: int = 30,
    damping: float = 0.0,
    tolerance: float = 1e-4,
) -> Shaped[np.ndarray, "rank ..."]:
    """Coefficient images that explain the data of all frames best: linear, by conjugate gradients.

    ``encode`` takes images [frame ...] to the prewhitened samples of all frames. ``damping`` times
    the energy of the coefficients is added to the squares left. The noise of the result is white
    before, coloured after: not in SNR units unless every frame is fully sampled.

    Raises
    ------
    ProtocolError
        If the encoding is of another number of frames.
    """
    n_frames = len(dictionary.basis)
    if encode.domain[0] != n_frames or data.shape != encode.codomain:
        raise ProtocolError(
            f"the encoding takes {encode.domain} to {encode.codomain}, the data are "
            f"{data.shape}, the dictionary has {n_frames} frames; they must agree "
            "(scanroom.mri.maps.fingerprint). Encode one image for each pulse."
        )
    whole = encode @ subspace(dictionary.basis, encode.domain[1:])
    normal = whole.N
    return conjugate_gradients(
        lambda x: normal(x) + damping * x if damping else normal(x),
        whole.H(data),
        n_iterations=n_iterations,
        tolerance=tolerance,
    )
