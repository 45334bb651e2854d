"""In which order slices and lines are measured."""

import numpy as np
from jaxtyping import Int

from scanroom.mri.protocol.families import TurboSpinEcho

NO_LINE = -1


def slice_order(n_slices: int) -> list[int]:
    """Even slices first, then odd: neighbours are half a repetition apart."""
    return [*range(0, n_slices, 2), *range(1, n_slices, 2)]


def train_table(protocol: TurboSpinEcho) -> Int[np.ndarray, "train echo"]:
    """Line that each echo of each train encodes; -1 where an echo is not recorded.

    k-space is cut into as many bands as the train has echoes, the middle one centred on k = 0. The
    effective echo takes the middle band, and the nearer an echo is to it the nearer its band is to
    the centre, so that the signal varies smoothly across k-space.
    """
    lines, n_echoes = protocol.lines, protocol.echo_train_length
    centre = int(np.searchsorted(lines, protocol.geometry.matrix_phase // 2))
    sizes = [band.size for band in np.array_split(lines, n_echoes)]
    middle = n_echoes // 2
    first = sum(sizes[:middle]) + sizes[middle] // 2
    bands = np.split(np.roll(lines, first - centre), np.cumsum(sizes)[:-1])
    table = np.full((max(sizes), n_echoes), NO_LINE)
    nearest_bands = sorted(range(n_echoes), key=lambda band: (abs(band - middle), -band))
    effective = protocol.effective_echo - 1
    nearest_echoes = sorted(range(n_echoes), key=lambda echo: (abs(echo - effective), -echo))
    for band, echo in zip(nearest_bands, nearest_echoes, strict=True):
        table[: sizes[band], echo] = bands[band]
    return table
