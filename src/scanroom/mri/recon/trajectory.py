"""Where samples really lie: late gradients and measured responses, before anything is gridded."""

from functools import lru_cache
from pathlib import Path

import numpy as np
from jaxtyping import Complex64, Float, Int

from scanroom.core.errors import FormatError, ProtocolError
from scanroom.core.units import Second
from scanroom.mri.raw.encoding import Encoding
from scanroom.mri.recon.delays import MAX_DELAY, MIN_SPOKES, from_crossings, moved
from scanroom.mri.recon.geometry import directions_of
from scanroom.mri.recon.girf import corrected, response_of
from scanroom.physics.gradient_fields import Response

DELAYS = ("auto", "none")
SPOKES = ("radial", "goldenangle")
RASTER: Second = 1e-5
"""Raster of the waveforms that a response in a plain array was sampled for: Siemens'."""
_MIDDLE = 0.75
"""Samples by which the middle of a spoke may miss sample n // 2."""
_HERE = "scanroom.mri.recon.trajectory"

Lines = list[Float[np.ndarray, "_ axis"]]


@lru_cache(maxsize=4)
def read_response(path: str) -> Response:
    """Read a measured response: ``.npy`` with gains "3 4 frequency", or ``.npz`` with spacing.

    Gains are those of `girf.response_of`; a ``.npz`` holds them as ``gain`` beside ``raster`` [s]
    of the waveforms, which of a ``.npy`` is 10 us.

    Raises
    ------
    FormatError
        If the file holds no such array.
    """
    try:
        held = np.load(Path(path), allow_pickle=False)
        gain = np.asarray(held["gain"] if path.endswith(".npz") else held)
        raster = float(held["raster"]) if path.endswith(".npz") else RASTER
    except (OSError, ValueError, KeyError, EOFError) as error:
        raise FormatError(
            f"{path} is not a gradient response ({error}); it may be .npy of gains (3, 4, "
            f"frequencies), or .npz with gain and raster ({_HERE}). Check the file."
        ) from error
    fits = gain.ndim == 3 and gain.shape[:2] == (3, 4) and gain.dtype.kind in "fc"
    if not (fits and gain.shape[2] > 1 and np.isfinite(gain).all() and 0 < raster < 1):
        raise FormatError(
            f"{path} holds an array {gain.shape} of {gain.dtype}; a response is finite, (3, 4, "
            f"frequencies), asked x, y, z by made uniform, x, y, z ({_HERE}). Check the file."
        )
    return response_of(gain.astype(np.complex128), raster, Path(path).name)


def responded(
    encoding: Encoding, windows: Int[np.ndarray, " line"], places: Lines, response: Response
) -> tuple[Lines, list[Float[np.ndarray, " _"]]]:
    """Places [cycles/m] as the gradients respond, and turns of the uniform field [cycles].

    ``places`` are those asked for, of whole windows. What played before a window is not in the
    data: gradients count as silent until it begins.
    """
    found, turns = [], []
    for window, k in zip(windows, places, strict=True):
        dwell = float(encoding.dwell[window])
        gradient = np.diff(k, axis=0).T / dwell
        time = dwell * np.arange(len(k))
        axes = directions_of(encoding, int(window))
        place, uniform = corrected(gradient, dwell, time, response, directions=axes)
        found.append(k[:1] + place)
        turns.append(uniform)
    return found, turns


def undelayed(
    encoding: Encoding,
    windows: Int[np.ndarray, " line"],
    places: Lines,
    signal: list[Complex64[np.ndarray, "coil _"]],
) -> tuple[Lines, str]:
    """Spokes where late gradients have put them, and what to say of it; others stay."""
    k = _spokes(encoding, places)
    if isinstance(k, str):
        return places, k
    step = (k[:, -1] - k[:, 0]) / (k.shape[1] - 1)
    angle = np.arctan2(step[:, 1], step[:, 0])
    spacing = float(np.linalg.norm(step, axis=1).mean())
    if not any(line.any() for line in signal):
        return places, "gradient delays not looked for: there is no signal"
    try:
        shift = from_crossings(np.stack(signal, axis=1), angle)
    except ProtocolError as error:
        return places, f"gradient delays not looked for: {error}"
    if not (np.isfinite(shift).all() and np.abs(shift).max() < MAX_DELAY):
        return places, "gradient delays: no agreement of the spokes found, none corrected"
    flat = k[:, :, ::-1].reshape(-1, 2)
    late = moved(flat, angle, shift, spacing)[:, ::-1].reshape(k.shape)
    dwell = float(encoding.dwell[windows[0]])
    x, y = shift[0, 0] * dwell * 1e6, shift[1, 1] * dwell * 1e6
    return list(late), f"gradient delays found in the spokes: {x:.2f} and {y:.2f} us, corrected"


def _spokes(encoding: Encoding, places: Lines) -> Float[np.ndarray, "spoke sample 2"] | str:
    """All lines as spokes of a plane, or why they are none."""
    if encoding.trajectory_type not in SPOKES:
        return ""
    if places[0].shape[1] != 2 or len({len(k) for k in places}) > 1 or len(places) < MIN_SPOKES:
        return f"gradient delays not looked for: fewer than {MIN_SPOKES} spokes alike in a plane"
    k = np.stack(places)
    step = (k[:, -1:] - k[:, :1]) / (k.shape[1] - 1)
    size = float(np.linalg.norm(step, axis=2).mean())
    straight = k[:, :1] + step * np.arange(k.shape[1])[:, None]
    middle = np.linalg.norm(k[:, k.shape[1] // 2], axis=1).max()
    if np.abs(k - straight).max() > 1e-2 * size or middle > _MIDDLE * size:
        return "gradient delays not looked for: spokes are bent, sampled on ramps or off the middle"
    return k
