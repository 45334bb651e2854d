"""Slices excited together, told apart by coils and by shifts of their fields of view.

A blip before each line moves slice ``s`` by ``shift_s`` of the field of view along y (blipped
CAIPIRINHA), so that slices lie upon each other where coils see them differently. A kernel per slice
takes the collapsed k-space to that of the slice. Slice-GRAPPA learns it from the sum of the single
slices; split slice-GRAPPA from each of them by itself, with nothing wanted from all but one: it
holds for any contrast, and little leaks from slice to slice.

K-space is hybrid (image along x): the kernel's points along the readout become a small matrix at
each place, and telling slices apart is one matrix product per place. Of a scan that leaves out
lines in plane as well, the lines are those measured, one after the other; shifts are shares of the
field of view that they make. Missing lines of each slice are filled afterwards.

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

from scanroom.core.errors import FormatError, ProtocolError
from scanroom.operators.fourier import to_image, to_kspace
from scanroom.operators.threads import each, one_blas

KERNEL = (5, 5)
"""Points of the kernel along y (lines) and along the readout."""
METHODS = ("split", "plain")
REGULARISATION = 1e-4
"""Added to the Gram matrix, as a share of its mean diagonal."""
_BLOCK = 32

Lines = Complex64[np.ndarray, "coil y x"]
Slices = Complex64[np.ndarray, "slice coil y x"]


def blipped(
    kspace: Complex64[np.ndarray, "slice *coil y x"], shifts: tuple[float, ...]
) -> Complex64[np.ndarray, "slice *coil y x"]:
    """Move every slice up along y by its share of the field of view, as blips do.

    Shifts of opposite sign undo it.

    Raises
    ------
    ProtocolError
        If there is not one shift for each slice.
    """
    _one_each(shifts, len(kspace))
    n_y = kspace.shape[-2]
    turn = np.exp(-2j * np.pi * np.outer(shifts, np.arange(n_y) - n_y // 2)).astype(np.complex64)
    moved: np.ndarray = kspace * turn.reshape(-1, *[1] * (kspace.ndim - 3), n_y, 1)
    return moved


@dataclass(frozen=True, slots=True, kw_only=True)
class SliceKernel:
    """Weights that tell slices apart: for every frame of the same slices, shifts and coils.

    ``weights[y, x, coil, slice, coil]``: lines before and after, points of the readout, source,
    slice, target.
    """

    weights: Complex64[np.ndarray, "ky kx coil slice coil"]

    def separate(self, collapsed: Lines) -> Slices:
        """Hybrid k-space of each slice, its shift still in it, from that of all together.

        Beyond the first and the last line there is nothing.

        Raises
        ------
        ProtocolError
            If the coils are not those of the kernel.
        """
        n_coils, n_y, n_x = collapsed.shape
        n_ky, _, n_known, n_slices, _ = self.weights.shape
        if n_coils != n_known:
            raise ProtocolError(
                f"the slices together have {n_coils} coils and the kernel {n_known}; both must be "
                "the same coils (scanroom.mri.recon.multislice). Calibrate with these coils."
            )
        padded = np.pad(collapsed, ((0, 0), (n_ky // 2, n_ky // 2), (0, 0)))
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
        """Size of what each slice leaves in each, over its own: best the unit matrix.

        ``references`` are single slices, shifted as they were for calibration. Telling apart is
        linear, so what one slice alone leaves in another is what it leaves there in any company.
        """
        columns = []
        for alone in references:
            own = np.vdot(alone, alone).real
            columns.append([np.vdot(one, one).real / own for one in self.separate(alone)])
        found: np.ndarray = np.sqrt(np.array(columns, np.float64)).T
        return np.ascontiguousarray(found)

    def gfactor(
        self, maps: Slices, shifts: tuple[float, ...] | None = None
    ) -> Float32[np.ndarray, "slice y x"]:
        """Noise of each slice combined by its maps of unit norm, over that of the slice alone.

        Maps lie where the slices do; without ``shifts`` where the blips move them. Noise of the
        collapsed lines is white and alike in all coils; the edges of k-space are not counted.

        Raises
        ------
        ProtocolError
            If there is not one shift for each slice.
        """
        n_slices, n_coils, n_y, n_x = maps.shape
        shifts = (0.0,) * n_slices if shifts is None else shifts
        _one_each(shifts, n_slices)
        at_x = self._at_x(n_x)
        n_ky = at_x.shape[1]
        # a sample some lines on is, in the image, a wave across the place blips move a pixel to
        place = np.arange(n_y) - n_y // 2 + n_y * np.array(shifts)[:, None]
        lag = np.arange(n_ky) - n_ky // 2
        waves = np.exp(-2j * np.pi * place[..., None] * lag / n_y).astype(np.complex64)
        out = np.empty((n_slices, n_y, n_x), np.float32)

        def column(x: int) -> None:
            for s in range(n_slices):
                pairs = at_x[x, :, :, s].reshape(n_ky, -1)
                unmixed = (waves[s] @ pairs).reshape(n_y, n_coils, n_coils)  # source, target
                row = np.matmul(unmixed, maps[s, :, :, x].T.conj()[..., None])
                out[s, :, x] = np.linalg.norm(row[..., 0], axis=1)

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
    method: str = METHODS[0],
    kernel: tuple[int, int] = KERNEL,
    regularisation: float = REGULARISATION,
) -> SliceKernel:
    """Learn the kernels from single slices in hybrid k-space, each shifted as blips shift it.

    ``references`` may be the central lines alone; they follow each other as those do that are to
    be told apart. ``method`` is ``"split"`` or ``"plain"``.

    Raises
    ------
    ProtocolError
        If the method is none of those there are, the kernel has no middle, the regularisation is
        negative, or the references are too small for the kernel.
    FormatError
        If the references are not finite.
    """
    n_slices, n_coils, n_y, n_x = references.shape
    n_weights = n_coils * kernel[0] * kernel[1]
    n_places = max(n_y - kernel[0] + 1, 0) * max(n_x - kernel[1] + 1, 0)
    if method not in METHODS or min(kernel) < 1 or min(k % 2 for k in kernel) == 0:
        raise ProtocolError(
            f"the method is {method!r} with a kernel of {kernel[0]} x {kernel[1]}; it may be "
            f"{' or '.join(METHODS)} with odd numbers of points (scanroom.mri.recon.multislice). "
            "Choose one of them."
        )
    if n_places < n_weights or regularisation < 0:
        raise ProtocolError(
            f"{n_places} places of the references tell {n_weights} weights, with a regularisation "
            f"of {regularisation:g}; there must be as many places as weights or more, and it may "
            "be 0 or more (scanroom.mri.recon.multislice). Measure more lines."
        )
    if not np.isfinite(references).all():
        raise FormatError(
            "the reference slices hold samples that are not finite; a receiver gives numbers "
            "(scanroom.mri.recon.multislice). Measure them again."
        )
    known = to_kspace(references, (3,))
    with one_blas():
        weights = _learned(known, method, kernel, regularisation)
    shaped = weights.reshape(n_coils, *kernel, n_slices, n_coils).transpose(1, 2, 0, 3, 4)
    return SliceKernel(weights=np.ascontiguousarray(shaped))


def slice_images(separated: Slices, shifts: tuple[float, ...]) -> Slices:
    """Images of every coil of separated slices, put back where the blips moved them from."""
    return to_image(blipped(separated, tuple(-shift for shift in shifts)), (2,))


def _one_each(shifts: tuple[float, ...], n_slices: int) -> None:
    if len(shifts) != n_slices:
        raise ProtocolError(
            f"{len(shifts)} shifts are given for {n_slices} slices; each slice has one "
            "(scanroom.mri.recon.multislice). Give as many, zeros where nothing is shifted."
        )


def _learned(
    known: Slices, method: str, kernel: tuple[int, int], regularisation: float
) -> Complex64[np.ndarray, "source target"]:
    """Least squares: patches of each slice (split) or of their sum (plain) to single slices."""
    pairs = [(one, one[None]) for one in known]
    if method == "plain":
        pairs = [(known.sum(axis=0), known)]
    products = [_products(patched, wanted, kernel) for patched, wanted in pairs]
    gram = np.sum([gram for gram, _ in products], axis=0)
    right = np.concatenate([right for _, right in products], axis=1)
    # never less than rounding, lest identical coils break the factorisation
    share = max(regularisation, len(gram) * float(np.finfo(np.float32).eps))
    gram[np.diag_indices_from(gram)] += share * np.trace(gram).real / len(gram)
    factor = scipy.linalg.cho_factor(gram, overwrite_a=True, check_finite=False)
    solved: np.ndarray = scipy.linalg.cho_solve(factor, right, check_finite=False)
    return solved.astype(np.complex64)


def _products(
    patched: Lines, wanted: Slices, kernel: tuple[int, int]
) -> tuple[Complex64[np.ndarray, "source source"], Complex64[np.ndarray, "source target"]]:
    """Products of all patches with themselves and with the samples wanted at their middle."""
    n_sources, n_targets = len(patched) * kernel[0] * kernel[1], wanted.shape[0] * wanted.shape[1]
    gram = np.zeros((n_sources, n_sources), np.complex64)
    right = np.zeros((n_sources, n_targets), np.complex64)
    windows = np.lib.stride_tricks.sliding_window_view(patched, kernel, axis=(1, 2))
    inner = slice(kernel[1] // 2, kernel[1] // 2 + windows.shape[2])
    for line in range(windows.shape[1]):  # a line of patches at a time
        rows = windows[:, line].transpose(0, 2, 3, 1).reshape(n_sources, -1)
        conjugate = rows.conj()
        gram += conjugate @ rows.T
        right += conjugate @ wanted[:, :, line + kernel[0] // 2, inner].reshape(n_targets, -1).T
    return gram, right
