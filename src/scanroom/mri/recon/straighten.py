"""Images put straight by the maker's file of gradient coefficients."""

import re
from dataclasses import replace
from functools import lru_cache
from pathlib import Path

import numpy as np

from scanroom.core.errors import FormatError
from scanroom.core.result import Result
from scanroom.mri.recon.unwarp import Harmonics, unwarp

_HERE = "scanroom.mri.recon.straighten"
_MOST_BYTES, _MOST_ORDER = 1 << 20, 30
_RADIUS = re.compile(r"([-+.\d]+)\s*m\s*=\s*R0", re.IGNORECASE)
_TERM = re.compile(
    r"\b([AB])\s*\(\s*(\d+)\s*,\s*(\d+)\s*\)\s+([-+]?[\d.]+(?:[eE][-+]?\d+)?)\s+([xyz])\b"
)


@lru_cache(maxsize=4)
def read_coefficients(path: str) -> Harmonics:
    """Read a Siemens ``.grad`` file: ``0.25 m = R0`` and lines ``A( 3, 0)  -0.07  z``.

    Raises
    ------
    FormatError
        If the file holds no radius or no terms, or an order beyond 30.
    """
    try:
        with Path(path).open("rb") as file:
            text = file.read(_MOST_BYTES).decode("latin-1")
    except OSError as error:
        raise FormatError(
            f"{path} cannot be read ({error.strerror}); it is a .grad file of gradient "
            f"coefficients ({_HERE}). Check the path."
        ) from error
    radius, terms = _RADIUS.search(text), _TERM.findall(text)
    try:
        size = float(radius.group(1)) if radius else 0.0
    except ValueError:
        size = 0.0
    if not terms or not 0.01 < size < 2:
        raise FormatError(
            f"{path} holds {len(terms)} terms and {'a' if radius else 'no'} radius R0; a .grad "
            f"file has '0.25 m = R0' and lines 'A( 3, 0)  -0.07  z' ({_HERE}). Check the file."
        )
    return _harmonics(path, size, terms)


def _harmonics(path: str, radius: float, terms: list[tuple[str, ...]]) -> Harmonics:
    order = 1 + max(int(n) for _, n, _, _, _ in terms)
    worst = max(int(m) - int(n) for _, n, m, _, _ in terms)
    if order > _MOST_ORDER + 1 or worst > 0:
        raise FormatError(
            f"{path} has a term of order {order - 1} or of a degree beyond its order; orders are "
            f"up to {_MOST_ORDER} ({_HERE}). Check the file."
        )
    table = {kind: np.zeros((3, order, order)) for kind in "AB"}
    for kind, n, m, value, axis in terms:
        if int(n) > 1:  # the straight field itself is not a bend
            table[kind]["xyz".index(axis), int(n), int(m)] = float(value)
    return Harmonics(radius=radius, cosine=table["A"], sine=table["B"])


def straightened(result: Result, path: str) -> Result:
    """Draw an image where its voxels truly are; what it was in units of the noise it is no more."""
    bends = read_coefficients(path)
    through = result.array.shape[0] > 1 and _is_slab(result)
    array = unwarp(result.array, result.affine, bends, through_plane=through)
    how = "along three axes" if through else "within slices"
    step = f"gradient nonlinearity of {Path(path).name} undone {how}, brightness with it"
    past = {**result.provenance, "steps": (*result.provenance["steps"], step)}
    return replace(result, array=array, unit="a.u.", provenance=past)


def _is_slab(result: Result) -> bool:
    """Whether slices touch: partitions of a slab, or slices without gaps."""
    thickness = float(result.provenance.get("slice_thickness") or 0.0)
    apart = float(np.linalg.norm(result.affine[:3, 2]))
    return apart <= thickness * (1 + 1e-3)
