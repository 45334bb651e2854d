"""Gentle changes across an image as polynomials of the voxel's place."""

import numpy as np
from jaxtyping import Bool, Float

from scanroom.core.errors import ProtocolError
from scanroom.mri.maps.unwrapping import unwrap, wrapped

_BISQUARE = 4.685
_ROUNDS = 20


def polynomial(shape: tuple[int, int, int], order: int) -> Float[np.ndarray, "term z y x"]:
    """Every product of powers of x, y, z (-1 to 1) up to an order; axes of one voxel have none.

    Raises
    ------
    ProtocolError
        If the order is not 0 to 6.
    """
    if order not in range(7):
        raise ProtocolError(
            f"the polynomial has order {order}; it may be 0 to 6 (scanroom.mri.maps.smooth). "
            "Choose one of them."
        )
    axes = [np.linspace(-1, 1, n) if n > 1 else np.zeros(1) for n in shape]
    z, y, x = np.meshgrid(*axes, indexing="ij")
    powers = [
        (i, j, k)
        for total in range(order + 1)
        for i in range(total + 1)
        for j in range(total - i + 1)
        for k in [total - i - j]
        if all(n > 1 or power == 0 for n, power in zip(shape, (i, j, k), strict=True))
    ]
    return np.stack([z**i * y**j * x**k for i, j, k in powers])


def robust_fit(
    basis: Float[np.ndarray, "term z y x"],
    values: Float[np.ndarray, "z y x"],
    weight: Float[np.ndarray, "z y x"],
    *,
    robust: bool,
) -> tuple[Float[np.ndarray, "z y x"], Float[np.ndarray, "z y x"]]:
    """Polynomial of weighted least squares, everywhere, and its variance.

    ``weight`` is the inverse variance of the values. With ``robust`` outliers get bisquare
    weights, scaled by the median absolute residual.

    Raises
    ------
    ProtocolError
        If fewer voxels have weight than there are terms.

    References
    ----------
    A. E. Beaton, J. W. Tukey, Technometrics 16, 147 (1974), doi:10.1080/00401706.1974.10489171.
    """
    used = weight > 0
    if used.sum() < len(basis):
        raise ProtocolError(
            f"{int(used.sum())} voxels are there for the {len(basis)} terms of a polynomial "
            "(scanroom.mri.maps.smooth). Enlarge the region or lower the order."
        )
    rows, right, given = basis[:, used].T, values[used], weight[used]
    extra = np.ones_like(given)
    terms, normal = np.zeros(len(basis)), np.eye(len(basis))
    for _ in range(_ROUNDS if robust else 1):
        weighed = rows * (given * extra)[:, None]
        normal = np.linalg.pinv(weighed.T @ rows, hermitian=True)
        terms = normal @ (weighed.T @ right)
        left = np.sqrt(given) * (right - rows @ terms)
        scale = max(float(np.median(np.abs(left))) / 0.6745, 1e-12)
        share = np.minimum(np.abs(left) / (_BISQUARE * scale), 1.0)
        extra = (1 - share**2) ** 2 + 1e-12
    variance = np.einsum("ij,izyx,jzyx->zyx", normal, basis, basis, optimize=True)
    return np.asarray(np.tensordot(terms, basis, 1)), np.asarray(variance)


def background_phase(
    phase: Float[np.ndarray, "z y x"],
    weight: Float[np.ndarray, "z y x"],
    where: Bool[np.ndarray, "z y x"],
    order: int,
    *,
    robust: bool,
) -> tuple[Float[np.ndarray, "z y x"], Float[np.ndarray, "z y x"]]:
    """Polynomial [rad] of the phase of a region, made continuous there, and its variance.

    ``weight`` is the inverse variance of the phase.

    Raises
    ------
    ProtocolError
        If the region is empty, or too small for the order.
    """
    if not where.any():
        raise ProtocolError(
            "no bright voxel is in the reference region; a background phase is fitted there "
            "(scanroom.mri.maps.smooth). Enlarge the region, or fit none."
        )
    mean = np.angle(np.sum(weight[where] * np.exp(1j * phase[where])))
    offset = unwrap(wrapped(phase - mean), mask=where).phase
    basis = polynomial(phase.shape, order)
    fit, variance = robust_fit(basis, offset, weight * where, robust=robust)
    return np.asarray(mean + fit), variance
