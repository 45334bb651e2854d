"""Fat has several peaks: where they lie and how large they are."""

import numpy as np
from jaxtyping import Float, Int

PEAKS = np.array([-3.80, -3.40, -2.60, -1.94, -0.39, 0.60]) * 1e-6
SHARES = np.array([0.087, 0.693, 0.128, 0.004, 0.039, 0.048])
"""Liver fat at 3 T, relative to water; the shares add up to 0.999.

G. Hamilton et al., NMR Biomed. 24, 784 (2011), doi:10.1002/nbm.1622.
"""
MAIN = float(PEAKS[1])
_FAT_BELOW = -1e-6


def split(
    shift: Float[np.ndarray, " n"],
) -> tuple[Int[np.ndarray, " m"], Float[np.ndarray, " m"], Float[np.ndarray, " m"]]:
    """Make six of every entry that is fat by its chemical shift; leave the others.

    Returns the entry each is made from, what it adds to that entry's shift (the main peak stays
    where it is), and its share.
    """
    fat = shift < _FAT_BELOW
    count = np.where(fat, len(PEAKS), 1)
    rows = np.repeat(np.arange(len(shift)), count)
    within = np.arange(len(rows)) - np.repeat(np.cumsum(count) - count, count)
    more = np.where(fat[rows], (PEAKS - MAIN)[within], 0.0)
    share = np.where(fat[rows], (SHARES / SHARES.sum())[within], 1.0)
    return rows, more, share
