"""Pictures of an image: its slices side by side, windowed, with the sides of the body named."""

import io
import math
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np
from jaxtyping import Float, Integer

from scanroom.core.errors import FormatError
from scanroom.core.result import Result
from scanroom.core.units import Metre
from scanroom.formats.dicom.planes import Planes, planes
from scanroom.formats.files import atomic
from scanroom.formats.quantise import quantise
from scanroom.mri.report.words import quantity

MAX_TILES = 12
TILE: float = 2.6  # inches
DOTS_PER_INCH = 110
PAPER, INK, DIM = "#000000", "#f2f2f2", "#9a9a9a"
OBLIQUE = 0.15
"""A second letter is shown where a direction leans by more than this towards it (9 degrees)."""
MARK = "RESEARCH USE ONLY"


@dataclass(frozen=True, slots=True, kw_only=True)
class _Tile:
    """One slice ready to draw: grey values 0 to 1, pixel sizes in mm, where it lies."""

    grey: Float[np.ndarray, "row column"]
    pixel: tuple[float, float]
    place: str
    sides: tuple[str, str, str, str]


def mosaic(result: Result) -> bytes:
    """Draw up to twelve slices of an image into a PNG.

    Pictures stand as in DICOM: the letters name the sides of the subject (Right, Left, Anterior,
    Posterior, Superior, Inferior).

    Raises
    ------
    FormatError
        If the result is no stack of slices.
    """
    from matplotlib.backends.backend_agg import FigureCanvasAgg  # noqa: PLC0415 - slow to import
    from matplotlib.figure import Figure  # noqa: PLC0415

    tiles, caption = _tiles(result)
    n_columns = min(len(tiles), 3 if len(tiles) <= 6 else 4)
    n_rows = math.ceil(len(tiles) / n_columns)
    height, width = tiles[0].grey.shape
    ratio = (height * tiles[0].pixel[0]) / (width * tiles[0].pixel[1])
    tile = TILE * min(1.6, max(1.0, 4 / n_columns * 0.85))
    size = (n_columns * tile, n_rows * tile * ratio + 0.34)
    figure = Figure(figsize=size, dpi=DOTS_PER_INCH, facecolor=PAPER)
    canvas: Any = FigureCanvasAgg(figure)
    foot = 0.34 / size[1]
    for index, picture in enumerate(tiles):
        row, column = divmod(index, n_columns)
        high = (1 - foot) / n_rows
        box = (column / n_columns, 1 - (row + 1) * high, 1 / n_columns, high)
        _draw(figure.add_axes(_inset(box, size)), picture)
    figure.text(0.008, foot * 0.32, caption, color=DIM, fontsize=7.5, va="baseline")
    figure.text(0.992, foot * 0.32, MARK, color=INK, fontsize=7.5, va="baseline", ha="right")
    canvas.draw()
    return _grey_png(np.asarray(canvas.buffer_rgba()))


def write_mosaic(result: Result, path: Path) -> Path:
    """Write the picture to a file."""
    with atomic(path) as aside:
        aside.write_bytes(mosaic(result))
    return path


def sides(row: Float[np.ndarray, "3"], column: Float[np.ndarray, "3"]) -> tuple[str, str, str, str]:
    """Name (left, right, top, bottom) of a picture from its LPS directions."""
    return _toward(-row), _toward(row), _toward(-column), _toward(column)


def _toward(direction: Float[np.ndarray, "3"]) -> str:
    """Letters of an LPS direction, the nearest first."""
    order = np.argsort(-np.abs(direction))
    letters = ("LR", "PA", "SI")
    return "".join(
        letters[axis][int(direction[axis] < 0)]
        for place, axis in enumerate(order)
        if place == 0 or abs(direction[axis]) > OBLIQUE
    )


def _tiles(result: Result) -> tuple[list[_Tile], str]:
    """Choose slices, window them, and say what they are."""
    if result.axes != ("z", "y", "x"):
        raise FormatError(
            f"result {result.name!r} has the axes {result.axes}; a picture is made of "
            "('z', 'y', 'x') (scanroom.mri.report.pictures). Split it into stacks."
        )
    image = quantise(result.array)
    cut = planes(image.stored, result.affine)
    low, high = image.window
    chosen = _chosen(len(cut.pixels))
    tiles = [
        _Tile(
            grey=np.clip((cut.pixels[index].astype(float) - low) / (high - low), 0, 1),
            pixel=cut.pixel_spacing,
            place=_place(cut, int(index)),
            sides=sides(cut.row, cut.column),
        )
        for index in chosen
    ]
    between_rows, between_columns = cut.pixel_spacing
    n_slices, n_rows, n_columns = cut.pixels.shape
    apart = f", slices {cut.spacing:.3g} mm apart" if n_slices > 1 else ""
    shown = "" if len(chosen) == n_slices else f", {len(chosen)} shown"
    caption = (
        f"{n_columns} x {n_rows}, {n_slices} slice{'s' * (n_slices > 1)}{shown} · pixel "
        f"{between_columns:.3g} x {between_rows:.3g} mm{apart} · "
        f"window {quantity(low * image.slope, '', 3)} to "
        f"{quantity(high * image.slope, result.unit, 3)}"
    )
    return tiles, caption


def _chosen(n_slices: int) -> Integer[np.ndarray, " tile"]:
    """All slices, or twelve evenly through the middle nine tenths."""
    if n_slices <= MAX_TILES:
        return np.arange(n_slices)
    margin = 0.05 * n_slices
    return np.rint(np.linspace(margin, n_slices - 1 - margin, MAX_TILES)).astype(int)


def _place(cut: Planes, index: int) -> str:
    """Where the middle of a slice lies along the body, as operators say it: S 12.5, I 3.0."""
    n_rows, n_columns = cut.pixels.shape[1:]
    middle = (
        cut.position[index]
        + cut.row * cut.pixel_spacing[1] * (n_columns - 1) / 2
        + cut.column * cut.pixel_spacing[0] * (n_rows - 1) / 2
    )
    axis = int(np.abs(np.cross(cut.row, cut.column)).argmax())
    value: Metre = float(middle[axis])
    letter = ("LR", "PA", "SI")[axis][int(value < 0)]
    return f"{letter} {abs(value):.1f} mm"


def _inset(
    box: tuple[float, float, float, float], size: tuple[float, float]
) -> tuple[float, float, float, float]:
    """Leave a hair of black between tiles."""
    x, y, width, height = box
    gap_x, gap_y = 0.02 / size[0], 0.02 / size[1]
    return x + gap_x, y + gap_y, width - 2 * gap_x, height - 2 * gap_y


def _draw(axes: Any, tile: _Tile) -> None:
    """Draw one slice with its letters."""
    axes.set_axis_off()
    between_rows, between_columns = tile.pixel
    axes.imshow(
        tile.grey,
        cmap="gray",
        vmin=0,
        vmax=1,
        aspect=between_rows / between_columns,
        interpolation="bilinear",
    )
    left, right, top, bottom = tile.sides
    place = {"transform": axes.transAxes, "color": INK, "fontsize": 9, "weight": "bold"}
    axes.text(0.02, 0.5, left, ha="left", va="center", **place)
    axes.text(0.98, 0.5, right, ha="right", va="center", **place)
    axes.text(0.5, 0.985, top, ha="center", va="top", **place)
    axes.text(0.5, 0.015, bottom, ha="center", va="bottom", **place)
    place |= {"weight": "normal", "fontsize": 7.5, "color": DIM}
    axes.text(0.02, 0.985, tile.place, ha="left", va="top", **place)


def _grey_png(pixels: Integer[np.ndarray, "row column 4"]) -> bytes:
    """Encode a colourless picture at one byte a pixel."""
    from PIL import Image  # noqa: PLC0415 - comes with matplotlib

    memory = io.BytesIO()
    Image.fromarray(pixels[..., 0]).save(memory, "PNG", optimize=True)
    return memory.getvalue()
