"""The field of magnetised spheres in closed form: what susceptibility maps are held against."""

import numpy as np
from scipy.ndimage import binary_erosion

N, EDGE = 48, 2e-3
Z, Y, X = (np.mgrid[:N, :N, :N] - N // 2) * EDGE
VOXEL = (EDGE, EDGE, EDGE)


def sphere(centre, radius, direction):
    """Relative field of a sphere of unit susceptibility, with Lorentz's, and its inside.

    Zero inside, ``(a / r)^3 (3 cos^2 - 1) / 3`` outside (J. F. Schenck 1996,
    doi:10.1118/1.597854).
    """
    b = np.asarray(direction) / np.linalg.norm(direction)
    dz, dy, dx = Z - centre[0], Y - centre[1], X - centre[2]
    r = np.maximum(np.sqrt(dz**2 + dy**2 + dx**2), 1e-9)
    cosine = (dz * b[0] + dy * b[1] + dx * b[2]) / r
    inside = r <= radius
    return np.where(inside, 0.0, (radius / r) ** 3 / 3 * (3 * cosine**2 - 1)), inside


SOURCES = (
    ((0.0, 0.0, 0.014), 0.009, 0.1),
    ((0.012, -0.014, -0.008), 0.008, 0.2),
    ((-0.012, 0.014, -0.008), 0.008, -0.1),
)


def phantom(direction):
    """Mask, field and susceptibility [ppm], and the regions of the sources with their values."""
    mask = Z**2 + Y**2 + X**2 < 0.034**2
    field, chi, regions = np.zeros(Z.shape), np.zeros(Z.shape), []
    for centre, radius, value in SOURCES:
        made, inside = sphere(centre, radius, direction)
        field += value * made
        chi += value * inside
        regions.append((inside, value))
    return mask, field, chi, regions


def outside(direction):
    """Field [ppm] of strong sources outside the mask, and a shim's slope."""
    far = 9 * sphere((0.045, 0.01, 0.0), 0.008, direction)[0]
    return far + 5 * sphere((-0.04, -0.02, 0.02), 0.007, direction)[0] + 10 * Z


def slope(found, chi, regions, mask):
    """Mean within sources (less their rim) and between them, found against true: the slope."""
    between = mask & ~np.logical_or.reduce([inside for inside, _ in regions])
    places = [binary_erosion(inside) & mask for inside, _ in regions] + [between]
    true = [(chi - chi[mask].mean())[place].mean() for place in places]
    return float(np.polyfit(true, [found[place].mean() for place in places], 1)[0])
