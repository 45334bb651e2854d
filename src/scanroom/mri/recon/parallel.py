"""Lines left out on purpose, filled from what the coils see differently.

Conjugate-gradient SENSE (Pruessmann, Weiger, Boernert, Boesiger, Magn. Reson. Med. 46, 638
(2001), doi:10.1002/mrm.1241) with sensitivities from the fully sampled centre of the same data.
"""

import numpy as np
from jaxtyping import Bool, Complex64

from scanroom.mri.recon.sense import cg_sense
from scanroom.mri.recon.sensitivities import sensitivities
from scanroom.operators.fourier import resize, to_image, to_kspace

MIN_CENTRE = 8
"""Fewest fully sampled central lines that tell sensitivities."""
N_ITERATIONS = 30
TOLERANCE = 3e-4
"""Relative residual at which iterations stop, before they amplify noise."""
UNFOLDED = "missing lines filled by CG-SENSE; noise varies with the geometry factor"

Hybrid = Complex64[np.ndarray, "coil z y x"]
Sampled = Bool[np.ndarray, "z y"]


def centre_block(sampled: Sampled) -> tuple[slice, slice]:
    """Largest centred block without gaps, as wide in z as in y where both are encoded."""
    n_z, n_y = sampled.shape
    best = (slice(0, 0), slice(0, 0))
    for half in range(1, max(n_z, n_y) // 2 + 1):
        block = (
            slice(max(n_z // 2 - half, 0), min(n_z // 2 + half, n_z)),
            slice(max(n_y // 2 - half, 0), min(n_y // 2 + half, n_y)),
        )
        if not sampled[block].all():
            break
        best = block
    return best


def can_unfold(sampled: Sampled, n_coils: int) -> bool:
    """Tell whether there are gaps, coils to fill them and a centre to know the coils from."""
    block = centre_block(sampled)
    return n_coils > 1 and not sampled.all() and block[1].stop - block[1].start >= MIN_CENTRE


def centre_maps(kspace: Hybrid, sampled: Sampled) -> Hybrid:
    """Sensitivities from the centre block alone; k-space in z and y, image in x."""
    block = (slice(None), *centre_block(sampled))
    centre = np.zeros_like(kspace)
    centre[block] = kspace[block]
    return sensitivities(to_image(centre, (1, 2)))


def sense(kspace: Hybrid, sampled: Sampled, maps: Hybrid) -> Complex64[np.ndarray, "z y x"]:
    """Find the image that, seen by the coils, best explains the lines measured."""
    image: np.ndarray = cg_sense(
        kspace, sampled, maps, n_iterations=N_ITERATIONS, tolerance=TOLERANCE
    )
    return image


def unfolded(
    kspace: Complex64[np.ndarray, "coil grid_z grid_y x"],
    sampled: Bool[np.ndarray, "grid_z grid_y"],
    n_measured: tuple[int, int],
    maps: Complex64[np.ndarray, "coil _ _ _"] | None,
) -> tuple[Complex64[np.ndarray, "grid_z grid_y x"], Complex64[np.ndarray, "coil _ _ _"]]:
    """Unfold on the measured grid (z, y) and interpolate to the whole; also give the maps.

    Where there are no maps of fitting shape they come from the centre of the data.
    """
    whole = sampled.shape
    small = tuple(min(n, size) for n, size in zip(n_measured, whole, strict=True))
    for axis, n in enumerate(small):
        kspace, sampled = resize(kspace, n, axis + 1), resize(sampled, n, axis)
    if maps is None or maps.shape != kspace.shape:
        maps = centre_maps(kspace, sampled)
    image = sense(kspace, sampled, maps)
    if small != whole:
        fine = to_kspace(image, (0, 1))
        image = to_image(resize(resize(fine, whole[0], 0), whole[1], 1), (0, 1))
    return image, maps
