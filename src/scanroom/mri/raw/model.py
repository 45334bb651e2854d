"""One readout, as any receiver, real or twin, hands it over."""

from dataclasses import dataclass

import numpy as np
from jaxtyping import Complex64

from scanroom.core.units import Second


@dataclass(frozen=True, slots=True, kw_only=True)
class Readout:
    """The samples of one receiver window, demodulated, in receiver units.

    ``index`` counts the windows of the drive from 0; ``time`` [s] is when the window opened.
    """

    index: int
    time: Second
    signal: Complex64[np.ndarray, "coil sample"]
