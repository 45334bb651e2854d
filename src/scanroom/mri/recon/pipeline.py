"""Raw to images, the whole way on one screen."""

from collections.abc import Callable, Iterable
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Any

import numpy as np
from jaxtyping import Int, Shaped

from scanroom.core.errors import ProtocolError
from scanroom.core.result import Result
from scanroom.mri.raw.reader import Raw, read_raw
from scanroom.mri.recon.compression import fewer_coils
from scanroom.mri.recon.describe import describe
from scanroom.mri.recon.geometry import Axes, axes_of
from scanroom.mri.recon.gridding import (
    SOLVED,
    gridded_images,
    is_cartesian,
    samples_of,
    sharpened,
    solved,
)
from scanroom.mri.recon.intensity import evened
from scanroom.mri.recon.kspace import CoilImages, Placed, coil_images, cropped
from scanroom.mri.recon.methods import Gaps, filled, finer, noise_at_most
from scanroom.mri.recon.noise import Measurement, whiten
from scanroom.mri.recon.options import COMBINATIONS, Options
from scanroom.mri.recon.replicas import Spread, with_noise
from scanroom.mri.recon.sensitivities import combine, root_sum_of_squares, sensitivities
from scanroom.mri.recon.sort import Stack, navigators, stacks
from scanroom.mri.recon.straighten import straightened
from scanroom.operators.fourier import resize, to_image, to_kspace

NOISE = "noise"
"""Ends the name of a map of the noise."""
Known = dict[int, dict[str, Any]]
Over = Callable[
    [Callable[["Job"], "list[Slab | None]"], list["Job"]], Iterable["list[Slab | None]"]
]


def reconstruct(
    raw: Path, *, trusted: bool = False, over: Over = map, **choices: Any
) -> tuple[Result, ...]:
    """Reconstruct every image of an MRD file: one result per contrast, repetition and stack.

    Images are in units of the noise where the file holds a noise scan and the method's noise is
    known. ``choices`` are those of `Options`; ``trusted`` is for a file this process wrote itself
    (`read_raw`); ``over`` is for `images_of`.

    Raises
    ------
    FormatError
        If the file is damaged or holds no image.
    ProtocolError
        If an option is none of those there are.
    """
    options = Options(**choices)
    return images_of(read_raw(raw, trusted=trusted), options, over=over)


def images_of(
    raw: Raw, options: Options, known: Known | None = None, *, over: Over = map
) -> tuple[Result, ...]:
    """Make every image of readouts at hand.

    Sensitivities and kernels of a slice come from its first image; those in ``known``, by slice
    number, are there already, and new ones are left there. ``over`` maps a function over slices, as
    `map` does: one that does so in several processes (`exam.farm`) gives the same bytes.

    Raises
    ------
    FormatError
        If the readouts hold no image.
    ProtocolError
        If the method asked for is not for these readouts.
    """
    measurement = whiten(raw)
    if 0 < options.virtual_coils < measurement.n_coils:
        measurement = fewer_coils(measurement, options.virtual_coils)
    known = {} if known is None else known
    # replicas share the calibrations of the images, which stay in the process that made them
    results = _images(measurement, options, known, map if options.replicas else over)
    if options.replicas:
        results += _noises(measurement, options, results, known)
    return tuple(_finished(result, options) for result in results)


def _finished(result: Result, options: Options) -> Result:
    """What is done to an image that is known as a whole."""
    if options.unwarp and not result.name.endswith(NOISE):
        result = straightened(result, options.unwarp)
    if not options.complex_images:
        result = replace(result, array=np.abs(result.array))
    evening = options.intensity == "even" and not result.name.endswith(NOISE)
    return evened(result) if evening else result


def _noises(
    measurement: Measurement, options: Options, images: tuple[Result, ...], known: Known
) -> tuple[Result, ...]:
    """Standard deviation of every image, by repeating the reconstruction on known noise."""
    if not measurement.white:
        raise ProtocolError(
            f"{options.replicas} replicas are asked for, and the file holds no noise scan; known "
            "noise is added to channels whose own is one (scanroom.mri.recon). Leave them out."
        )
    spreads = [Spread(image.array) for image in images]
    for replica in range(options.replicas):
        again = _images(with_noise(measurement, replica), options, known, map)
        for spread, image in zip(spreads, again, strict=True):
            spread.add(image.array)
    return tuple(
        replace(image, name=f"{image.name}_{NOISE}", array=spread.deviation(), unit=image.unit)
        for spread, image in zip(spreads, images, strict=True)
    )


def _images(
    measurement: Measurement, options: Options, known: Known, over: Over
) -> tuple[Result, ...]:
    """Make complex images of all stacks."""
    results = []
    every = stacks(measurement.encoding)
    for number, stack in enumerate(every):
        jobs = [
            _job(
                measurement, stack, position, options, known.setdefault(stack.slices[position], {})
            )
            for position in range(len(stack.slices))
        ]
        columns = list(over(slabs_of, jobs))
        suffix = f"stack-{number + 1}" if len(every) > 1 else ""
        for row, frame in enumerate(stack.frames):
            volume, notes, in_noise = _stacked([column[row] for column in columns])
            results.append(
                describe(volume, measurement, stack, frame, suffix, notes, in_noise_units=in_noise)
            )
    return tuple(results)


@dataclass(frozen=True, slots=True, kw_only=True)
class Job:
    """One slice with its readouts, for every image; picklable."""

    measurement: Measurement
    windows: tuple[Int[np.ndarray, " _"], ...]
    echo_trains: tuple[Int[np.ndarray, " _"], ...]
    options: Options
    known: dict[str, Any]


@dataclass(frozen=True, slots=True, kw_only=True)
class Slab:
    """One slice (or slab) of one image."""

    image: Shaped[np.ndarray, "z y x"]
    in_noise_units: bool
    notes: tuple[str, ...]


def _job(
    measurement: Measurement, stack: Stack, position: int, options: Options, known: dict[str, Any]
) -> Job:
    """Take what one slice needs out of a measurement."""
    encoding = measurement.encoding
    windows = [frame.windows[position] for frame in stack.frames]
    trains = [navigators(encoding, frame, stack.slices[position]) for frame in stack.frames]
    chosen = np.unique(np.concatenate([*windows, *trains]))
    return Job(
        measurement=replace(
            measurement,
            encoding=encoding.take(chosen),
            signal=tuple(measurement.signal[at] for at in chosen),
        ),
        windows=tuple(np.searchsorted(chosen, rows) for rows in windows),
        echo_trains=tuple(np.searchsorted(chosen, rows) for rows in trains),
        options=options,
        known=known,
    )


def slabs_of(job: Job) -> list[Slab | None]:
    """Reconstruct one slice of every image in turn; None where it was not measured."""
    axes = axes_of(job.measurement.encoding)
    made: list[Slab | None] = []
    for windows, echo_train in zip(job.windows, job.echo_trains, strict=True):
        if len(windows) == 0:
            made.append(None)
        elif is_cartesian(job.measurement.encoding):
            images = coil_images(job.measurement, windows, echo_train, axes, job.options)
            made.append(_combined(images, axes, job))
        else:
            made.append(_gridded(job, windows, axes))
    return made


def _stacked(
    slabs: list[Slab | None],
) -> tuple[Shaped[np.ndarray, "z y x"], tuple[str, ...], bool]:
    """Put slices together; those not measured stay zero."""
    notes: dict[str, None] = {}
    for position, slab in enumerate(slabs):
        said = (f"slice {position} was not measured",) if slab is None else slab.notes
        notes |= dict.fromkeys(said)
    found = [slab for slab in slabs if slab is not None]
    empty = np.zeros_like(found[0].image)
    volume = np.concatenate([empty if slab is None else slab.image for slab in slabs])
    return volume, tuple(notes), all(slab.in_noise_units for slab in found)


def _combined(images: CoilImages, axes: Axes, job: Job) -> Slab:
    """Combine the coils and express the image in units of its own noise."""
    in_noise_units = np.float32(1 / np.sqrt(images.noise))
    options, known = job.options, job.known
    if options.combination != COMBINATIONS[0]:
        image = root_sum_of_squares(images.signal) * in_noise_units
        return Slab(image=image, in_noise_units=True, notes=images.notes)
    if images.placed is not None:
        return _filled(images, images.placed, axes, job)
    key = f"sensitivities {images.signal.shape}"
    if key not in known:
        known[key] = sensitivities(images.signal)
    image = combine(images.signal, known[key]) * in_noise_units
    return Slab(image=image, in_noise_units=True, notes=images.notes)


def _filled(images: CoilImages, placed: Placed, axes: Axes, job: Job) -> Slab:
    """Fill gaps on the grid that was measured, then interpolate to the whole."""
    whole = placed.sampled.shape
    small = tuple(
        min(axis.n_measured, n) for axis, n in zip((axes[2], axes[1]), whole, strict=True)
    )
    kspace, sampled = placed.kspace, placed.sampled
    for axis, n in enumerate(small):
        kspace, sampled = resize(kspace, n, axis + 1), resize(sampled, n, axis)
    share = float(placed.sampled.mean())
    sample_noise = float(np.sqrt(images.noise / share))
    if not job.measurement.white:
        sample_noise = noise_at_most(kspace, sampled)
    found = filled(
        Gaps(
            kspace=kspace,
            sampled=sampled,
            noise=sample_noise,
            noise_measured=job.measurement.white,
            regularisation=job.options.regularisation,
            sensitivities=job.options.sensitivities,
            known=job.known,
        ),
        job.options.method,
    )
    image = found.image
    if small != whole:
        image = to_image(resize(resize(to_kspace(image, (0, 1)), whole[0], 0), whole[1], 1), (0, 1))
    notes = (*images.notes, found.note)
    if found.noise is None or not job.measurement.white:
        # what unfolding restores of the amplitude that zeros take, the noise gains as well
        scaled = cropped(image, axes) * np.float32(np.sqrt(share) / sample_noise)
        return Slab(image=scaled, in_noise_units=False, notes=notes)
    noise = finer(found.noise, (whole[0], whole[1]))
    noise = noise * np.float32(sample_noise * np.sqrt(np.prod(small) / np.prod(whole)))
    seen = noise > 1e-3 * noise.max()
    in_units = np.where(seen, image / np.where(seen, noise, 1), 0).astype(np.complex64)
    return Slab(image=cropped(in_units, axes), in_noise_units=True, notes=notes)


def _gridded(job: Job, windows: Int[np.ndarray, " line"], axes: Axes) -> Slab:
    """Grid a trajectory; solve for the image where the field or gaps that coils fill ask for it."""
    options, encoding = job.options, job.measurement.encoding
    samples = samples_of(job.measurement, windows, axes, options)
    if options.off_resonance != "none":
        image, note = sharpened(samples, encoding, int(windows[0]), axes, options.off_resonance)
        return Slab(image=image, in_noise_units=False, notes=(*samples.notes, note))
    if samples.has_gaps and options.combination == COMBINATIONS[0] and options.method != "combine":
        notes = (*samples.notes, SOLVED)
        return Slab(image=solved(samples, axes), in_noise_units=False, notes=notes)
    return _combined(gridded_images(samples, axes), axes, job)
