"""Slices excited together, told apart by coils and by shifts of their fields of view.

A blip before each line turns slice ``s`` by ``shift_s`` of the field of view along y (blipped
CAIPIRINHA), so that slices lie upon each other where coils see them differently. A kernel per slice
takes the collapsed k-space to that of the slice. Slice-GRAPPA learns it from the sum of the single
slices; split-slice-GRAPPA from each of them by itself, with nothing wanted from all but one: it
holds for any contrast, and what leaks from slice to slice is the least there can be.

K-space is hybrid (image along x): the kernel's points along the readout become a small matrix at
each place, and telling slices apart is one matrix product per place.

References
----------
K. Setsompop et al., Magn. Reson. Med. 67, 1210 (2012), doi:10.1002/mrm.23097 (slice-GRAPPA, blips);
S. F. Cauley, J. R. Polimeni, H. Bhat, L. L. Wald, K. Setsompop, Magn. Reson. Med. 72, 93 (2014),
doi:10.1002/mrm.24898 (split slice-GRAPPA); F. A. Breuer et al., Magn. Reson. Med. 62, 739 (2009),
doi:10.1002/mrm.22066 (noise).
"""

from dataclasses import dataclass

import numpy as np
import scipy.linalg
from jaxtyping import Complex64, Float32, Float64

from scanroom.core.errors import ProtocolError
from scanroom.operators.fourier import to_image, to_kspace
from scanroom.operators.threads import each, one_blas

KERNEL = (5, 5)
"""Points of the kernel along y (measured lines) and along the readout."""
METHODS = ("split", "plain")
_BLOCK = 32

Lines = Complex64[np.ndarray, "coil y x"]
Slices = Complex64[np.ndarray, "slice coil y x"]


def blipped(
    kspace: Complex64[np.ndarray, "slice *coil y x"], shifts: tuple[float, ...]
) -> Complex64[np.ndarray, "slice *coil y x"]:
    """Move every slice along y by its share of the field of view, as blips do; undo by ``-shift``.

    Raises
    ------
    ProtocolError
        If there is not one shift for each slice.
    """
    if len(shifts) != len(kspace):
        raise ProtocolError(
            f"{len(shifts)} shifts are given for {len(kspace)} slices; each slice has one "
            "(scanroom.mri.recon.multislice). Give as many, zeros where nothing is shifted."
        )
    line = np.arange(kspace.shape[-2]) - kspace.shape[-2] // 2
    turn = np.exp(-2j * np.pi * np.outer(shifts, line)).astype(np.complex64)
    return kspace * turn.reshape(len(shifts), *[1] * (kspace.ndim - 3), len(line), 1)


@dataclass(frozen=True, slots=True, kw_only=True)
class SliceKernel:
    """Weights that tell slices apart: for every frame of the same slices, shifts and coils.

    ``weights[y, x, coil, slice, coil]``: lines before and after, points of the readout, source,
    slice, target.
    """

    weights: Complex64[np.ndarray, "ky kx coil slice coil"]

    def separate(self, collapsed: Lines) -> Slices:
        """Hybrid k-space of each slice (its shift still in it) from that of all together."""
        n_coils, n_y, n_x = collapsed.shape
        n_ky, _, _, n_slices, _ = self.weights.shape
        half = n_ky // 2
        padded = np.pad(collapsed, ((0, 0), (half, half), (0, 0)))
        lines = np.lib.stride_tricks.sliding_window_view(padded, n_ky, axis=1)
        at_x = self._at_x(n_x).reshape(n_x, n_ky * n_coils, n_slices * n_coils)
        out = np.empty((n_slices, n_coils, n_y, n_x), np.complex64)

        def some(block: int) -> None:
            part = slice(block * _BLOCK, (block + 1) * _BLOCK)
            around = lines[:, :, part].transpose(2, 1, 3, 0).reshape(-1, n_y, n_ky * n_coils)
            made = np.matmul(around, at_x[part])
            out[..., part] = made.reshape(-1, n_y, n_slices, n_coils).transpose(2, 3, 1, 0)

        each(some, -(-n_x // _BLOCK))
        return out

    def leakage(self, references: Slices) -> Float64[np.ndarray, "into from"]:
        """Root of the energy that each slice leaves in each, over its own: best the unit matrix.

        ``references`` are single slices, shifted as they were for calibration.
        """
        energy = []
        for alone in references:
            seen = self.separate(alone)
            own = float(np.vdot(alone, alone).real)
            energy.append([float(np.vdot(one, one).real) / own for one in seen])
        found: np.ndarray = np.sqrt(np.array(energy).T)
        return found

    def gfactor(self, maps: Slices) -> Float32[np.ndarray, "slice y x"]:
        """Noise of slices that ``maps`` (shifted alike, unit norm) combine, over one alone."""
        n_slices, n_coils, n_y, n_x = maps.shape
        at_x = self._at_x(n_x)
        n_ky = at_x.shape[1]
        # the sample ``lag`` lines on counts: in the image that is a wave of its place
        place, lag = np.arange(n_y) - n_y // 2, np.arange(n_ky) - n_ky // 2
        waves = np.exp(-2j * np.pi * np.outer(place, lag) / n_y).astype(np.complex64)
        out = np.empty((n_slices, n_y, n_x), np.float32)

        def column(x: int) -> None:
            for s in range(n_slices):
                pairs = at_x[x, :, :, s].reshape(n_ky, -1)  # source coil, target coil
                unmix = (waves @ pairs).reshape(n_y, n_coils, n_coils)
                row = np.einsum("tp,pst->ps", maps[s, :, :, x].conj(), unmix)
                out[s, :, x] = np.linalg.norm(row, axis=1)

        each(column, n_x)
        return out

    def _at_x(self, n_x: int) -> Complex64[np.ndarray, "x ky coil slice coil"]:
        """Weights at every place of the image along the readout."""
        n_kx = self.weights.shape[1]
        place, lag = np.arange(n_x) - n_x // 2, np.arange(n_kx) - n_kx // 2
        waves = np.exp(-2j * np.pi * np.outer(place, lag) / n_x).astype(np.complex64)
        made: np.ndarray = np.tensordot(waves, self.weights, (1, 1))
        return made


def calibrate_slices(
    references: Slices,
    *,
    method: str = "split",
    kernel: tuple[int, int] = KERNEL,
    regularisation: float = 1e-4,
) -> SliceKernel:
    """Learn kernels from single slices in hybrid k-space, shifted as the collapsed scan has them.

    Lines must follow each other as they do where the kernel is used: of a scan accelerated in
    plane, the measured ones. ``method`` is ``"split"`` or ``"plain"``; ``regularisation`` is a
    share of the mean diagonal of the Gram matrix.

    Raises
    ------
    ProtocolError
        If the method is none of those there are, or the references are too small for the kernel.
    """
    n_slices, n_coils, n_y, n_x = references.shape
    n_weights = n_coils * kernel[0] * kernel[1]
    n_places = max(n_y - kernel[0] + 1, 0) * max(n_x - kernel[1] + 1, 0)
    if method not in METHODS or n_places < n_weights:
        raise ProtocolError(
            f"method is {method!r} on references of {n_y} lines of {n_x} points; it may be "
            f"{' or '.join(METHODS)}, on {n_weights} places or more, as many as a "
            "coil's weights (scanroom.mri.recon.multislice). Choose one, or measure more."
        )
    known = to_kspace(references, (3,))
    learned_from = known if method == "split" else known.sum(axis=0, keepdims=True)
    with one_blas():
        patches = [_patches(one, kernel) for one in learned_from]
        wanted = [_patches(one, kernel, middle=True) for one in known]
        gram = sum(np.asarray(p.conj() @ p.T) for p in patches)
        if method == "split":
            right = [p.conj() @ w.T for p, w in zip(patches, wanted, strict=True)]
        else:
            right = [patches[0].conj() @ w.T for w in wanted]
        loaded = np.asarray(gram).copy()
        share = max(regularisation, len(loaded) * float(np.finfo(np.float32).eps))
        loaded[np.diag_indices_from(loaded)] += share * np.trace(loaded).real / len(loaded)
        factor = scipy.linalg.cho_factor(loaded, overwrite_a=True, check_finite=False)
        weights = scipy.linalg.cho_solve(factor, np.concatenate(right, axis=1), check_finite=False)
    shaped = weights.reshape(n_coils, *kernel, n_slices, n_coils).transpose(1, 2, 0, 3, 4)
    return SliceKernel(weights=np.ascontiguousarray(shaped.astype(np.complex64)))


def _patches(
    known: Lines, kernel: tuple[int, int], *, middle: bool = False
) -> Complex64[np.ndarray, "row place"]:
    """Every patch of k-space as a column; or its middle point alone."""
    windows = np.lib.stride_tricks.sliding_window_view(known, kernel, axis=(1, 2))
    if middle:
        return windows[..., kernel[0] // 2, kernel[1] // 2].reshape(len(known), -1)
    n_places = windows.shape[1] * windows.shape[2]
    return windows.transpose(0, 3, 4, 1, 2).reshape(-1, n_places)


def slice_images(separated: Slices, shifts: tuple[float, ...]) -> Slices:
    """Images of every coil of separated slices, put back where the blips had moved them from."""
    back = blipped(separated, tuple(-shift for shift in shifts))
    return to_image(back, (2,))
