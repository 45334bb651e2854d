"""Which readouts make which image: slices on a ladder, contrasts, repetitions, sets."""

from collections.abc import Iterator
from dataclasses import dataclass

import numpy as np
from jaxtyping import Int

from scanroom.core.errors import FormatError
from scanroom.mri.raw.encoding import Encoding, Flag
from scanroom.mri.recon.geometry import Ladder, directions_of

FRAME = ("contrast", "repetition", "set", "phase")
"""Counters whose values are images apart."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Frame:
    """One image: its value of each counter of `FRAME` and the windows of every slice."""

    counter: tuple[int, int, int, int]
    windows: tuple[Int[np.ndarray, " _"], ...]


@dataclass(frozen=True, slots=True, kw_only=True)
class Stack:
    """Slices that share one affine, and every image made of them."""

    ladder: Ladder
    slices: tuple[int, ...]
    frames: tuple[Frame, ...]


def stacks(encoding: Encoding) -> tuple[Stack, ...]:
    """Sort the lines of the image.

    Raises
    ------
    FormatError
        If no readout is a line of an image.
    """
    lines = np.flatnonzero(encoding.is_image)
    if len(lines) == 0:
        raise FormatError(
            f"{encoding.protocol_name or 'the file'} has {encoding.n_windows} readouts, none of "
            "them a line of an image (MRD acquisition flags). Nothing can be reconstructed."
        )
    return tuple(_stack(encoding, lines, group) for group in _ladders(encoding, lines))


def navigators(encoding: Encoding, frame: Frame, number: int) -> Int[np.ndarray, " _"]:
    """Find the odd-and-even-echo navigators of one slice of one image."""
    contrast, repetition, _, _ = frame.counter
    found = np.flatnonzero(
        encoding.has(Flag.PHASE_CORRECTION)
        & (encoding.slice == number)
        & (encoding.repetition == repetition)
    )
    same = found[encoding.contrast[found] == contrast]
    return same if len(same) else found


def _ladders(encoding: Encoding, lines: Int[np.ndarray, " line"]) -> Iterator[list[int]]:
    """Group slice numbers by orientation, order them along the normal, split uneven ones."""
    numbers, first = np.unique(encoding.slice[lines], return_index=True)
    places = {int(n): int(lines[i]) for n, i in zip(numbers, first, strict=True)}
    alike: dict[bytes, list[int]] = {}
    for number, window in places.items():
        mark = np.round(directions_of(encoding, window), 3) + 0.0
        alike.setdefault(mark.tobytes(), []).append(number)
    for group in alike.values():
        normal = directions_of(encoding, places[group[0]])[:, 2]
        group.sort(key=lambda n: float(encoding.position[places[n]] @ normal))
        is_volume = encoding.encoded_matrix[2] > 1
        if not is_volume and _ladder(encoding, [places[n] for n in group]).is_even:
            yield group
        else:
            yield from ([number] for number in group)


def _ladder(encoding: Encoding, windows: list[int]) -> Ladder:
    thickness = encoding.encoded_fov[2] / encoding.encoded_matrix[2]
    return Ladder(
        centres=encoding.position[windows],
        directions=directions_of(encoding, windows[0]),
        thickness=thickness if thickness > 0 else 1e-3,
    )


def _stack(encoding: Encoding, lines: Int[np.ndarray, " line"], group: list[int]) -> Stack:
    of_slice = [lines[encoding.slice[lines] == number] for number in group]
    counters = np.stack([getattr(encoding, name) for name in FRAME], axis=1)
    keys = sorted({tuple(map(int, row)) for windows in of_slice for row in counters[windows]})
    frames = tuple(
        Frame(
            counter=(key[0], key[1], key[2], key[3]),
            windows=tuple(windows[(counters[windows] == key).all(axis=1)] for windows in of_slice),
        )
        for key in keys
    )
    return Stack(
        ladder=_ladder(encoding, [int(windows[0]) for windows in of_slice]),
        slices=tuple(group),
        frames=frames,
    )
