"""A book of the orders that windows see of boxes, instead of the signal the boxes would give.

An order is noted bare: as the amplitude it would have at the origin and on resonance, when the
window opens. What place and offset do to it follows from its key alone, so that boxes which
differ in nothing else have the same amplitude, and those which differ little a similar one.
"""

from collections.abc import Sequence
from typing import NamedTuple, no_type_check

import numpy as np
from jaxtyping import Complex64, Float, Float32, Int
from numba import njit
from numba.typed import List

from scanroom.physics.spins.configurations import MOMENT, PENDING, TIME
from scanroom.physics.spins.diffusing import thin, weighting
from scanroom.physics.spins.trig import decay, turn

_HEADS, _VALUES = 4096, 1 << 20
N_HEAD = 6


class Notes(NamedTuple):
    """What a lane wrote down, entry by entry.

    ``run`` and ``at`` say whose and in which event of the stretch, ``key`` is the moment [1/m] and
    time [s] of the order when the window opens, ``edge`` where the amplitudes of an entry begin.
    """

    run: Int[np.ndarray, " entry"]
    at: Int[np.ndarray, " entry"]
    key: Float[np.ndarray, "entry 4"]
    edge: Int[np.ndarray, " entry_plus_1"]
    amplitude: Complex64[np.ndarray, " number"]


def new_book(*, is_open: bool) -> tuple[List, List, np.ndarray]:
    """Pages of heads and amplitudes, and how far the last ones are written (-1: closed)."""
    heads, values = List(), List()
    heads.append(np.empty((_HEADS if is_open else 0, N_HEAD)))
    values.append(np.empty(_VALUES if is_open else 0, np.complex64))
    return heads, values, np.full(2, 0 if is_open else -1, np.int64)


def notes_of(book: tuple[List, List, np.ndarray], runs: Int[np.ndarray, " run_plus_1"]) -> Notes:
    """Read a book whose runs have these edges."""
    heads, values, filled = book
    rows = np.concatenate([*list(heads)[:-1], heads[-1][: filled[0]]])
    run = rows[:, 0].astype(np.int64)
    edge = np.concatenate([[0], np.cumsum(np.diff(runs)[run])]).astype(np.int64)
    pages, last = [], int(filled[1])
    ends = _page_ends(np.diff(edge), len(values))
    for page, end in zip(list(values)[:-1], ends, strict=True):
        pages.append(page[:end])
    pages.append(values[-1][:last])
    return Notes(run, rows[:, 1].astype(np.int64), rows[:, 2:], edge, np.concatenate(pages))


def joined_notes(notes: Sequence[Notes]) -> Notes:
    """The notes of all lanes as one."""
    sizes = np.concatenate([np.diff(n.edge) for n in notes])
    return Notes(
        np.concatenate([n.run for n in notes]),
        np.concatenate([n.at for n in notes]),
        np.concatenate([n.key for n in notes]),
        np.concatenate([[0], np.cumsum(sizes)]).astype(np.int64),
        np.concatenate([n.amplitude for n in notes]),
    )


def energies(
    notes: Notes,
    mass: Float32[np.ndarray, " node"] | None = None,
    runs: Int[np.ndarray, " run_plus_1"] | None = None,
) -> Float[np.ndarray, " entry"]:
    """Sum of the squares of every entry's amplitudes, weighed by the mass of the nodes of its run.

    Without ``mass`` all nodes weigh the same.
    """
    out = np.zeros(len(notes.run))
    begin = np.zeros(len(notes.run), np.int64) if runs is None else runs[notes.run]
    weight = np.zeros(0, np.float32) if mass is None else mass
    _add_squares(notes.edge, notes.amplitude, begin, weight, out)
    return out


@njit(cache=True, nogil=True)
@no_type_check
def _add_squares(edge, amplitude, begin, weight, out):
    for entry in range(out.size):
        total = 0.0
        for at in range(edge[entry], edge[entry + 1]):
            square = amplitude[at].real ** 2 + amplitude[at].imag ** 2
            heavy = weight[begin[entry] + at - edge[entry]] if weight.size > 0 else 1.0
            total += heavy * square
        out[entry] = total


def _page_ends(counts: Int[np.ndarray, " entry"], n_pages: int) -> list[int]:
    """How far every page but the last is written: entries do not cross pages."""
    ends, held = [], 0
    for count in counts.tolist():
        if held + count > _VALUES:
            ends.append(held)
            held = 0
        held += count
    return ends[: n_pages - 1]


@njit(cache=True, nogil=True)
@no_type_check
def write_seen(book, boxes, work, whose, opening, diffused):
    """Write down every order to which `list_seen` gave a share.

    ``whose`` are the run and the event, ``opening`` the time [s] and moment [1/m] at which the
    window opens. What is ``diffused`` is dimmed as at the window's middle sample: coefficients,
    the largest of them and the course up to there (see `diffusing`).
    """
    heads, values, filled = book
    count, length, clock = boxes.x.size, work.cosine.size, work.clock
    time, moment = opening
    elapsed = np.float32(time - clock[TIME])
    kx, ky, kz = (
        moment[0] - clock[MOMENT],
        moment[1] - clock[MOMENT + 1],
        moment[2] - clock[MOMENT + 2],
    )
    bank, key, kept, left = work.banks[work.tally[1]], work.key, work.kept, work.kept
    diffusion, most, course = diffused
    b = np.empty(6)
    for i in range(count):
        kept[i] = decay(boxes.r2[i] * elapsed)
    for order in range(work.tally[0]):
        if work.share[order] == 0.0:
            continue
        if filled[0] == heads[-1].shape[0]:
            heads.append(np.empty((_HEADS, N_HEAD)))
            filled[0] = 0
        if filled[1] + count > values[-1].size:
            values.append(np.empty(_VALUES, np.complex64))
            filled[1] = 0
        x, y, z, t = key[order, 0], key[order, 1], key[order, 2], key[order, 3]
        head = heads[-1][filled[0]]
        head[0], head[1] = whose[0], whose[1]
        head[2], head[3], head[4], head[5] = x + kx, y + ky, z + kz, t + time - clock[TIME]
        filled[0] += 1
        place = work.slot[order] * 2 * length
        real, imag = bank[place : place + length], bank[place + length : place + 2 * length]
        out = values[-1][filled[1] : filled[1] + count]
        pending = clock[PENDING]
        if most > 0.0:
            left = work.cosine
            left[:count] = kept[:count]
            thin(left[:count], diffusion, b, weighting(key[order], course, b))
        for i in range(count):
            c, s = turn(
                pending + x * boxes.x[i] + y * boxes.y[i] + z * boxes.z[i] + t * boxes.offset[i]
            )
            x_part, y_part = real[i] * left[i], imag[i] * left[i]
            out[i] = complex(x_part * c - y_part * s, x_part * s + y_part * c)
        filled[1] += count
