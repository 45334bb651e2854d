"""Where samples really lie: gradients as a measured impulse response has them.

The response takes each gradient asked for to the three that come out and to a uniform field (its
own phase, sometimes called k0); samples are placed by the integral of the first and turned back by
that of the second.

References ---------- S. J. Vannesjo et al., Magn. Reson. Med. 69, 583 (2013),
doi:10.1002/mrm.24263. S. J. Vannesjo et al., Magn. Reson. Med. 76, 45 (2016),
doi:10.1002/mrm.25841.
"""

import numpy as np
from jaxtyping import Complex, Float

from scanroom.core.errors import ProtocolError
from scanroom.core.units import Second
from scanroom.physics.gradient_fields import Response, respond

REST: Second = 0.02
"""Room left behind a waveform, in which what lags may die away before it would come round again."""


def response_of(
    gain: Complex[np.ndarray, "3 4 frequency"], raster: Second, source: str
) -> Response:
    """Take a response as it was measured: asked x, y, z; made uniform [m], x, y, z.

    0 Hz lies in the middle; ``raster`` [s] is that of the waveforms it was sampled for, so that
    frequencies reach half its inverse.
    """
    return Response(gain=gain, spacing=1 / (raster * gain.shape[2]), source=source)


def corrected(
    gradient: Float[np.ndarray, "axis sample"],
    raster: Second,
    time: Float[np.ndarray, " time"],
    response: Response,
    *,
    directions: Float[np.ndarray, "3 3"] | None = None,
) -> tuple[Float[np.ndarray, "time axis"], Float[np.ndarray, " time"]]:
    """Places [cycles/m] and turns of the uniform field [cycles] at ``time`` [s].

    ``gradient`` [Hz/m] holds the means over steps of ``raster``, from time 0, before which nothing
    plays; ``directions`` has the scanner's axes of its rows as columns. Places come back along the
    rows. Multiply samples by ``exp(2 pi i turns)`` to take the uniform field away.

    Raises
    ------
    ProtocolError
        If a time lies outside the waveform.
    """
    n_axes, n = gradient.shape
    if time.min() < 0 or time.max() > n * raster * (1 + 1e-9):
        raise ProtocolError(
            f"samples lie between {time.min():.4g} and {time.max():.4g} s; the waveform lasts "
            f"from 0 to {n * raster:.4g} s (scanroom.mri.recon.girf). Hand in all of it."
        )
    axes = np.eye(3) if directions is None else directions
    room = np.zeros((3, n + round(REST / raster)))
    room[:, :n] = axes[:, :n_axes] @ gradient
    made = respond(room, raster, response)[:, :n]
    area = np.concatenate([np.zeros((4, 1)), np.cumsum(made, axis=1) * raster], axis=1)
    edges = raster * np.arange(n + 1)
    uniform, *physical = (np.interp(time, edges, row) for row in area)
    place: np.ndarray = np.stack(physical, axis=1) @ axes[:, :n_axes]
    return place, uniform
