"""Images from spirals, spokes, stars and cones: gridding, and SENSE by conjugate gradients.

Samples are prewhitened; places are in cycles per pixel, axes as in the image. Planar trajectories
(two axes) have samples "coil z sample", every slice by itself; those with three axes
"coil sample".

References
----------
K. P. Pruessmann, M. Weiger, P. Boernert, P. Boesiger, Magn. Reson. Med. 46, 638 (2001),
doi:10.1002/mrm.1241.
"""

from collections.abc import Callable, Sequence
from dataclasses import replace

import numpy as np
import scipy.fft
from jaxtyping import Complex, Float, Int

from scanroom.core.errors import FormatError, ProtocolError
from scanroom.mri.recon.sensitivities import N_CENTRE, sensitivities
from scanroom.operators.circulant import circulant, preconditioned_gradients, undoing
from scanroom.operators.fourier import resize, to_image, to_kspace
from scanroom.operators.linear import Array, Linear, Shape
from scanroom.operators.nufft import density, nufft, point_spread
from scanroom.operators.threads import each, n_threads
from scanroom.operators.toeplitz import convolution, eigenvalues

N_ITERATIONS = 8
"""Preconditioned steps that leave no more error than 30 plain ones do."""
FLOOR = 1.0
"""Share of the mean density below which the preconditioner holds back: the rest is noise."""

Place = Float[np.ndarray, "sample axis"]
Samples = Complex[np.ndarray, "coil ..."]
Image = Complex[np.ndarray, "z y x"]
Images = Complex[np.ndarray, "coil z y x"]
Weight = Float[np.ndarray, " sample"]


def gridded(
    samples: Samples, place: Place, shape: Shape, weight: Weight | None = None
) -> tuple[Images, float]:
    """Adjoint transform of samples that each count for the k-space they stand for.

    The second value is the noise power of a pixel for unit noise in the samples: divide by its
    root for an image in units of noise.
    """
    _check(samples, place)
    grid = _grid(place, shape)
    share = density(place, grid) if weight is None else weight
    transform = nufft(place, grid)
    flat = samples.reshape(-1, len(place))
    counted = share.astype(flat.real.dtype)
    images = np.stack(each(lambda i: transform.adjoint(flat[i] * counted), len(flat)))
    noise = float((share**2).sum() / np.prod(grid))
    return images.reshape(len(samples), *shape), noise


def encoding(place: Place, maps: Images, *, weight: Weight | None = None) -> Linear:
    """Encode an image "z y x" by coils and a trajectory; see `sensed`.

    A ``weight`` multiplies samples by its root: hand in data so weighted.
    """
    return sensed(nufft(place, _grid(place, maps.shape[1:]), weight=weight), maps)


def sensed(transform: Linear, maps: Images) -> Linear:
    """Every coil's samples of an image "z y x": an encoding that solvers invert.

    ``transform`` takes one plane (then each slice by itself) or the volume to its samples: `nufft`,
    or that of `off_resonance`. Coil by coil, so that work stays in cache; ``gram`` is made of the
    transform's.
    """
    n_coils, *shape = maps.shape
    n_parts = shape[0] if len(transform.domain) == 2 else 1
    parts = maps.reshape(n_coils, n_parts, *transform.domain)
    lead = (n_coils, n_parts) if len(transform.domain) == 2 else (n_coils,)
    normal = transform.N.forward

    def forward(image: Array) -> Array:
        whole = image.reshape(parts.shape[1:])

        def one(item: int) -> Array:
            coil, part = divmod(item, n_parts)
            return transform.forward(parts[coil, part] * whole[part])

        return np.stack(each(one, n_coils * n_parts)).reshape(*lead, *transform.codomain)

    def over_coils(work: Callable[[int, int], Array]) -> Array:
        if n_parts == 1:
            return _summed(lambda coil: work(coil, 0), n_coils).reshape(shape)
        return np.stack(each(lambda i: _summed(lambda coil: work(coil, i), n_coils), n_parts))

    def adjoint(samples: Array) -> Array:
        of_part = samples.reshape(n_coils, n_parts, *transform.codomain)

        def work(coil: int, part: int) -> Array:
            seen: Array = parts[coil, part].conj() * transform.adjoint(of_part[coil, part])
            return seen

        return over_coils(work)

    def gram(image: Array) -> Array:
        whole = image.reshape(parts.shape[1:])

        def work(coil: int, part: int) -> Array:
            seen: Array = parts[coil, part].conj() * normal(parts[coil, part] * whole[part])
            return seen

        return over_coils(work)

    return Linear(forward, adjoint, tuple(shape), (*lead, *transform.codomain), gram)


def stacked(planes: Sequence[Linear], level: Int[np.ndarray, " plane"], maps: Images) -> Linear:
    """Stack of stars or spirals: an image "z y x" to samples "coil plane sample".

    ``planes[i]`` is the transform in the plane (`nufft`) at element ``level[i]`` of k-space along
    z, whose origin is element ``n // 2``; levels may be missing. Where none is missing and all
    planes are alike, transform samples along z instead and take each slice as a plane.

    Raises
    ------
    ProtocolError
        If levels and planes, or levels and maps, do not match.
    """
    n_coils, n_z = maps.shape[:2]
    if not (len(planes) == len(level) > 0 and level.min() >= 0 and level.max() < n_z):
        raise ProtocolError(
            f"{len(planes)} planes have levels {level}; there is one for each plane, from 0 to "
            f"{n_z - 1} (scanroom.mri.recon.noncartesian). Give maps with all levels along z."
        )
    normals = [plane.N for plane in planes]
    backwards = [plane.H for plane in planes]

    def levels(coil: int, image: Array) -> Array:
        space: Array = _along_z(maps[coil] * image, scipy.fft.fft)[level]
        return space

    def joined(coil: int, found: Array) -> Array:
        space = np.zeros(maps.shape[1:], dtype=found.dtype)
        np.add.at(space, level, found)
        seen: Array = maps[coil].conj() * _along_z(space, scipy.fft.ifft)
        return seen

    def forward(image: Array) -> Array:
        return np.stack(each(lambda coil: _applied(planes, levels(coil, image)), n_coils))

    def adjoint(samples: Array) -> Array:
        return _summed(lambda coil: joined(coil, _applied(backwards, samples[coil])), n_coils)

    def gram(image: Array) -> Array:
        return _summed(lambda coil: joined(coil, _applied(normals, levels(coil, image))), n_coils)

    codomain = (n_coils, len(planes), *planes[0].codomain)
    return Linear(forward, adjoint, maps.shape[1:], codomain, gram)


def sense(
    samples: Samples,
    place: Place,
    maps: Images,
    *,
    n_iterations: int = N_ITERATIONS,
    tolerance: float = 0.0,
    damping: float = 0.0,
) -> Image:
    """Image whose samples, seen by the coils, are nearest to those measured.

    Samples count alike, which is best for white noise. The image is not in units of noise: its
    power follows the geometry. ``damping``, relative to full sampling, holds back what the coils
    hardly tell; so do few iterations.
    """
    _check(samples, place, maps)
    grid = _grid(place, maps.shape[1:])
    spread = point_spread(place, grid, dtype=maps.dtype)
    gains = convolution(eigenvalues(spread))
    encode = sensed(replace(nufft(place, grid), gram=gains.forward), maps)
    planar = len(grid) == 2
    undo = undoing(circulant(spread, maps[:, maps.shape[1] // 2] if planar else maps), floor=FLOOR)
    return solved(
        encode,
        samples,
        (lambda image: np.stack([undo(plane) for plane in image])) if planar else undo,
        n_iterations=n_iterations,
        tolerance=tolerance,
        damping=damping,
    )


def solved(
    encode: Linear,
    samples: Samples,
    undo: Callable[[Array], Array] = lambda image: image,
    *,
    n_iterations: int,
    tolerance: float = 0.0,
    damping: float = 0.0,
) -> Image:
    """Least squares of any encoding, led by ``undo`` where there is one; see `sense`."""
    _check(samples)
    normal = encode.N.forward
    right = encode.H(samples.reshape(encode.codomain))
    held = right.real.dtype.type(damping)
    return preconditioned_gradients(
        (lambda image: normal(image) + held * image) if damping else normal,
        right,
        undo,
        n_iterations=n_iterations,
        tolerance=tolerance,
    )


def centre_maps(samples: Samples, place: Place, shape: Shape) -> Images:
    """Sensitivities from the middle of k-space alone, where spirals and spokes miss nothing."""
    _check(samples, place)
    grid = _grid(place, shape)
    low = tuple(min(N_CENTRE, n) for n in grid)
    inside = (np.abs(place) * grid < np.array(low) / 2).all(axis=1)
    few = samples.reshape(len(samples), -1, len(place))[..., inside]
    small = low if len(low) == 3 else (shape[0], *low)
    axes = tuple(range(4 - len(grid), 4))
    whole = to_kspace(gridded(few, place[inside] * grid / low, small)[0], axes)
    for axis, n in zip(axes, grid, strict=True):
        whole = resize(whole, n, axis)
    return sensitivities(to_image(whole, axes))


def _check(*arrays: np.ndarray) -> None:
    if not all(np.isfinite(array).all() for array in arrays):
        raise FormatError(
            "samples, places or maps hold values that are no numbers; one would spread over the "
            "whole image (scanroom.mri.recon.noncartesian). Leave those samples out."
        )


def _grid(place: Place, shape: Shape) -> Shape:
    """Axes of the image that the trajectory encodes: the last two, or all three."""
    return tuple(shape[-place.shape[1] :])


def _applied(planes: Sequence[Linear], parts: Array) -> Array:
    return np.stack([plane.forward(part) for plane, part in zip(planes, parts, strict=True)])


def _along_z(volume: Array, transform: Callable[..., Array]) -> Array:
    moved = transform(np.fft.ifftshift(volume, 0), axis=0, norm="ortho", workers=1)
    return np.fft.fftshift(moved, 0)


def _summed(work: Callable[[int], Array], n_items: int) -> Array:
    """Sum of ``work(0) .. work(n_items - 1)``, added in that order, few in memory at a time."""
    step = n_threads()
    total: Array | None = None
    for start in range(0, n_items, step):
        for value in each(_later(work, start), min(step, n_items - start)):
            total = value if total is None else np.add(total, value, out=total)
    if total is None:
        raise ProtocolError("there are no coils: one at least makes an image. Give their maps.")
    return total


def _later(work: Callable[[int], Array], start: int) -> Callable[[int], Array]:
    return lambda item: work(start + item)
