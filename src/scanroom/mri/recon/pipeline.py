"""Raw to images, the whole way on one screen."""

from pathlib import Path

import numpy as np
from jaxtyping import Complex64, Int, Shaped

from scanroom.core.errors import ProtocolError
from scanroom.core.result import Result
from scanroom.mri.raw.reader import Raw, read_raw
from scanroom.mri.recon.apodise import checked as checked_apodisation
from scanroom.mri.recon.describe import describe
from scanroom.mri.recon.geometry import Axes, axes_of
from scanroom.mri.recon.gridding import gridded_images, is_cartesian
from scanroom.mri.recon.intensity import checked as checked_intensity
from scanroom.mri.recon.intensity import evened
from scanroom.mri.recon.kspace import CoilImages, Options, coil_images, cropped
from scanroom.mri.recon.noise import Measurement, whiten
from scanroom.mri.recon.parallel import UNFOLDED, unfolded
from scanroom.mri.recon.partial_fourier import checked
from scanroom.mri.recon.sensitivities import combine, root_sum_of_squares, sensitivities
from scanroom.mri.recon.sort import Frame, Stack, navigators, stacks

COMBINATIONS = ("adaptive", "root-sum-of-squares")
Maps = Complex64[np.ndarray, "coil z y x"]


def reconstruct(
    raw: Path,
    *,
    partial_fourier: str = "pocs",
    combination: str = "adaptive",
    apodisation: str = "none",
    intensity: str = "received",
    complex_images: bool = False,
    trusted: bool = False,
) -> tuple[Result, ...]:
    """Reconstruct every image of an MRD file: one result per contrast, repetition and stack.

    Images are magnitudes, in units of the noise where the file holds a noise scan; with
    ``complex_images`` they keep their phase. ``partial_fourier`` is ``"pocs"``, ``"homodyne"`` or
    ``"zero-fill"``; ``combination`` is ``"adaptive"`` or ``"root-sum-of-squares"``;
    ``apodisation`` is ``"none"``, ``"hann"``, ``"hamming"`` or ``"tukey"``; ``intensity`` is
    ``"received"`` or ``"even"``, without shading (`recon.intensity`), no longer in units of the
    noise; ``trusted`` is for a file this process wrote itself (`read_raw`).

    Raises
    ------
    FormatError
        If the file is damaged or holds no image.
    ProtocolError
        If an option is none of those there are.
    """
    options = options_of(
        partial_fourier=partial_fourier,
        combination=combination,
        apodisation=apodisation,
        intensity=intensity,
        complex_images=complex_images,
    )
    return images_of(read_raw(raw, trusted=trusted), options)


def options_of(
    *,
    partial_fourier: str = "pocs",
    combination: str = "adaptive",
    apodisation: str = "none",
    intensity: str = "received",
    complex_images: bool = False,
) -> Options:
    """Check what the operator chose; the words are those of `reconstruct`.

    Raises
    ------
    ProtocolError
        If an option is none of those there are.
    """
    return Options(
        partial_fourier=checked(partial_fourier),
        combination=_checked(combination, complex_images=complex_images),
        apodisation=checked_apodisation(apodisation),
        intensity=checked_intensity(intensity),
        complex_images=complex_images,
    )


def images_of(
    raw: Raw, options: Options, maps: dict[int, Maps] | None = None
) -> tuple[Result, ...]:
    """Make every image of readouts at hand.

    Sensitivities of a slice come from its first image; those in ``maps``, by slice number, are
    known already, and new ones are left there for the images that follow.

    Raises
    ------
    FormatError
        If the readouts hold no image.
    """
    measurement = whiten(raw)
    axes = axes_of(measurement.encoding)
    maps = {} if maps is None else maps
    results = []
    every = stacks(measurement.encoding)
    for number, stack in enumerate(every):
        for frame in stack.frames:
            volume, notes = _volume(measurement, stack, frame, axes, options, maps)
            array = volume if options.complex_images else np.abs(volume)
            suffix = f"stack-{number + 1}" if len(every) > 1 else ""
            result = describe(array, measurement, stack, frame, suffix, notes)
            results.append(evened(result) if options.intensity == "even" else result)
    return tuple(results)


def _checked(combination: str, *, complex_images: bool) -> str:
    if combination not in COMBINATIONS or (complex_images and combination != COMBINATIONS[0]):
        raise ProtocolError(
            f"combination is {combination!r}; it may be {' or '.join(COMBINATIONS)}, the first "
            "where complex images are wanted (scanroom.mri.recon). Choose one of them."
        )
    return combination


def _volume(
    measurement: Measurement,
    stack: Stack,
    frame: Frame,
    axes: Axes,
    options: Options,
    maps: dict[int, Maps],
) -> tuple[Shaped[np.ndarray, "slice y x"], tuple[str, ...]]:
    """Reconstruct one image slice by slice; the first image of a stack leaves its maps."""
    slabs: list[np.ndarray | None] = []
    notes: dict[str, None] = {}
    for position, windows in enumerate(frame.windows):
        if len(windows) == 0:
            slabs.append(None)
            notes[f"slice {position} was not measured"] = None
            continue
        echo_train = navigators(measurement.encoding, frame, stack.slices[position])
        images = _coils(measurement, windows, echo_train, axes, options)
        notes |= dict.fromkeys(images.notes)
        image, how = _combined(images, axes, options, maps, stack.slices[position])
        slabs.append(image)
        notes |= dict.fromkeys(how)
    shape = next(slab.shape for slab in slabs if slab is not None)
    filled = [np.zeros(shape, np.complex64) if slab is None else slab for slab in slabs]
    return np.concatenate(filled), tuple(notes)


def _coils(
    measurement: Measurement,
    windows: Int[np.ndarray, " line"],
    echo_train: Int[np.ndarray, " navigator"],
    axes: Axes,
    options: Options,
) -> CoilImages:
    if is_cartesian(measurement.encoding):
        return coil_images(measurement, windows, echo_train, axes, options)
    return gridded_images(measurement, windows, axes)


def _combined(
    images: CoilImages, axes: Axes, options: Options, maps: dict[int, Maps], number: int
) -> tuple[Shaped[np.ndarray, "z y x"], tuple[str, ...]]:
    """Combine the coils and express the image in units of its own noise."""
    in_noise_units = np.float32(1 / np.sqrt(images.noise))
    if options.combination != COMBINATIONS[0]:
        return root_sum_of_squares(images.signal) * in_noise_units, ()
    if images.placed is not None:
        placed, measured = images.placed, (axes[2].n_measured, axes[1].n_measured)
        image, maps[number] = unfolded(placed.kspace, placed.sampled, measured, maps.get(number))
        # unfolding undoes the loss of amplitude that zeros bring, and the noise grows with it
        unfolding = np.float32(placed.sampled.mean())
        return cropped(image, axes) * in_noise_units * unfolding, (UNFOLDED,)
    if number not in maps or maps[number].shape != images.signal.shape:
        maps[number] = sensitivities(images.signal)
    return combine(images.signal, maps[number]) * in_noise_units, ()
