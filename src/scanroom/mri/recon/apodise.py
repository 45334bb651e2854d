"""Windows that trade resolution for ringing; none unless asked for."""

import numpy as np
from jaxtyping import Float, Shaped

from scanroom.core.choice import one_of

APODISATIONS = ("none", "hann", "hamming", "tukey")


def checked(apodisation: str) -> str:
    """Return the name of a window.

    Raises
    ------
    ProtocolError
        If there is no such window; the text lists them.
    """
    return one_of("apodisation", apodisation, APODISATIONS, "scanroom.mri.recon.apodise")


def taper(
    place: Shaped[np.ndarray, " point"], n_measured: int, apodisation: str
) -> Float[np.ndarray, " point"]:
    """Weight of k-space points ``place`` grid points from the centre of ``n_measured``."""
    radius = np.clip(np.abs(place) / (n_measured / 2), 0, 1)
    weights: dict[str, np.ndarray] = {
        "none": np.ones(len(place)),
        "hann": 0.5 + 0.5 * np.cos(np.pi * radius),
        "hamming": 0.54 + 0.46 * np.cos(np.pi * radius),
        "tukey": 0.5 + 0.5 * np.cos(np.pi * np.clip((radius - 0.5) / 0.5, 0, 1)),
    }
    return weights[checked(apodisation)]
