"""Ways from k-space with gaps to an image: each a function with a name, and anyone may add one.

A method takes `Gaps` and gives `Filled`. Others are found by the entry point ``scanroom.recon``
of an installed package, under the name it gives them: no change here. ``auto`` looks at the lines.
"""

from collections.abc import Callable, Mapping
from dataclasses import dataclass, field
from functools import cache
from importlib.metadata import entry_points
from types import MappingProxyType
from typing import Any, TypeVar

import numpy as np
from jaxtyping import Bool, Complex64, Float32

from scanroom.core.choice import one_of
from scanroom.core.errors import ProtocolError
from scanroom.mri.recon.compressed_sensing import FILLED, compressed_sensing
from scanroom.mri.recon.espirit import Sensitivities, espirit
from scanroom.mri.recon.grappa import calibrate
from scanroom.mri.recon.lattice import Lattice, lattice_of
from scanroom.mri.recon.parallel import UNFOLDED, centre_block, centre_maps
from scanroom.mri.recon.sense import cg_sense, unfold
from scanroom.mri.recon.sensitivities import combine
from scanroom.mri.recon.spirit import calibrate_spirit, spirit
from scanroom.operators.fourier import resize, to_image, to_kspace

GROUP = "scanroom.recon"
AUTO = "auto"
REGULARISATIONS = ("wavelet", "tv", "tgv")
SENSITIVITIES = ("auto", "espirit", "walsh")
DENSE: float = 2.5
"""Irregular patterns that leave out more than this many lines to each measured are for CS."""
ENOUGH = 12
"""Lines of the centre, along an axis, from which ESPIRiT is taken."""
_CENTRE_X = 32
_OUTER = 0.1
_RAYLEIGH = float(np.sqrt(2 * np.log(2)))

Hybrid = Complex64[np.ndarray, "coil z y x"]
Made = TypeVar("Made")


@dataclass(frozen=True, slots=True, kw_only=True)
class Gaps:
    """One slice or slab with lines missing, prewhitened, on the grid that was measured.

    ``kspace`` has k along z and y and image along x, zero where ``sampled`` is false; ``noise`` is
    the standard deviation of real and imaginary part of its samples, or no less where it was not
    measured. ``known`` is what earlier images of the same slice left behind (maps, kernels), and
    what this one leaves.
    ``regularisation`` and ``sensitivities`` are the operator's choices.
    """

    kspace: Hybrid
    sampled: Bool[np.ndarray, "z y"]
    noise: float = 1.0
    noise_measured: bool = True
    regularisation: str = REGULARISATIONS[0]
    sensitivities: str = SENSITIVITIES[0]
    known: dict[str, Any] = field(default_factory=dict)

    def maps(self, *, masked: bool = True) -> Hybrid:
        """Sensitivities from the fully sampled centre, of unit norm; zero where nothing is.

        ``auto`` takes ESPIRiT where the centre holds enough patches, else local covariances.

        Raises
        ------
        ProtocolError
            If the centre tells none.
        """
        centre = self.sampled[centre_block(self.sampled)].shape
        few = any(1 < n < ENOUGH for n in centre)
        if self.sensitivities == "walsh" or (self.sensitivities == "auto" and few):
            return self.remembered("walsh", lambda: centre_maps(self.kspace, self.sampled))
        found = self.remembered("espirit", self._espirit)
        maps: Hybrid = found.cropped()[0] if masked else found.maps[0]
        return maps

    @property
    def sure(self) -> float:
        """Noise that there is at least: none where it was not measured."""
        return self.noise if self.noise_measured else 0.0

    def _espirit(self) -> Sensitivities:
        centre = to_kspace(self.kspace[(slice(None), *centre_block(self.sampled))], (3,))
        n_x = min(_CENTRE_X, centre.shape[3])
        return espirit(resize(centre, n_x, 3), self.kspace.shape[1:], noise=self.sure)

    def remembered(self, name: str, make: Callable[[], Made]) -> Made:
        """Take what an earlier image of this slice left, if it fits, or make it and leave it."""
        key = f"{name} {self.kspace.shape}"
        if key not in self.known:
            self.known[key] = make()
        found: Made = self.known[key]
        return found


@dataclass(frozen=True, slots=True, kw_only=True)
class Filled:
    """An image on the grid measured, what was done, and its noise where that is known.

    ``noise`` is the standard deviation of each pixel over that of a sample of hybrid k-space.
    """

    image: Complex64[np.ndarray, "z y x"]
    note: str
    noise: Float32[np.ndarray, "z y x"] | None = None


Method = Callable[[Gaps], Filled]


def by_sense(gaps: Gaps) -> Filled:
    """Unfold a regular pattern pixel by pixel; lines of the centre beside it tell maps alone."""
    lattice = _lattice(gaps, "sense")
    on = lattice.on(gaps.sampled.shape) & gaps.sampled
    maps = gaps.maps()
    found = unfold(gaps.kspace, on, maps)
    noise = np.float32(np.sqrt(lattice.factor)) * found.gfactor
    mean = float(found.gfactor[found.gfactor > 0].mean())
    note = f"SENSE, {lattice.factor} pixels unfolded; mean geometry factor {mean:.2f}"
    return Filled(image=found.image, note=note, noise=noise)


def by_cg_sense(gaps: Gaps) -> Filled:
    """Solve for the image by conjugate gradients: any pattern."""
    return Filled(
        image=cg_sense(gaps.kspace, gaps.sampled, gaps.maps(), noise=gaps.sure), note=UNFOLDED
    )


def by_grappa(gaps: Gaps) -> Filled:
    """Fill lines from their neighbours, then combine the coils.

    The centre keeps the lines measured there and their noise, which by its share of k-space adds to
    that of the lines filled: within 4 % of replicas, 2 % for every second or third line.
    """
    lattice = _lattice(gaps, "grappa")
    name = f"grappa {lattice}"
    kernel = gaps.remembered(
        name, lambda: calibrate(gaps.kspace, gaps.sampled, lattice, noise=gaps.sure)
    )
    maps = gaps.maps(masked=False)
    image = combine(to_image(kernel.fill(gaps.kspace, gaps.sampled), (1, 2)), maps)
    gfactor = gaps.remembered(f"{name} g", lambda: kernel.gfactor(maps))
    share = np.float32(gaps.sampled[centre_block(gaps.sampled)].size / gaps.sampled.size)
    noise = np.sqrt((1 - share) * lattice.factor * gfactor**2 + share)
    note = (
        f"GRAPPA, every {lattice.factor}th line measured; mean geometry factor {gfactor.mean():.2f}"
    )
    return Filled(image=image, note=note, noise=noise)


def by_compressed_sensing(gaps: Gaps) -> Filled:
    """Find the image that is sparse and explains the lines, as strictly as the noise asks."""
    scale = np.float32(1 / gaps.noise)
    image = compressed_sensing(
        gaps.kspace * scale, gaps.sampled, gaps.maps(), sparse_in=gaps.regularisation
    )
    return Filled(image=image / scale, note=f"{FILLED} ({gaps.regularisation})")


def by_spirit(gaps: Gaps) -> Filled:
    """Fill samples so that each is what its neighbours say, any pattern, then combine the coils."""
    centre = centre_block(gaps.sampled)
    kernel = gaps.remembered(
        "spirit", lambda: calibrate_spirit(gaps.kspace[(slice(None), *centre)])
    )
    noise = gaps.sure or None
    whole = spirit(gaps.kspace, gaps.sampled, kernel, noise=noise)
    image = combine(to_image(whole, (1, 2)), gaps.maps(masked=False))
    return Filled(image=image, note="SPIRiT, kernel of the centre; not in units of noise")


BUILT_IN: Mapping[str, Method] = MappingProxyType(
    {
        "sense": by_sense,
        "cg-sense": by_cg_sense,
        "grappa": by_grappa,
        "spirit": by_spirit,
        "cs": by_compressed_sensing,
    }
)


@cache
def methods() -> Mapping[str, Method]:
    """Every method there is: ours, and those that installed packages add.

    Raises
    ------
    ProtocolError
        If an installed package's method has the name of one of ours.
    """
    found = dict(BUILT_IN)
    for entry in entry_points(group=GROUP):
        if entry.name in (*BUILT_IN, AUTO):
            raise ProtocolError(
                f"the package {entry.dist.name if entry.dist else entry.value} adds a "
                f"reconstruction {entry.name!r}, which Scanroom has itself (entry point {GROUP}). "
                "Rename it or remove the package."
            )
        found[entry.name] = entry.load()
    return MappingProxyType(found)


def checked(name: str) -> str:
    """Return the name of a method, or refuse it."""
    return one_of("method", name, (AUTO, *methods()), "scanroom.mri.recon.methods")


def filled(gaps: Gaps, name: str = AUTO) -> Filled:
    """Make the image by a method, or by the one the lines ask for; the note says which and why.

    Raises
    ------
    ProtocolError
        If there is no such method, or the lines are not for it.
    """
    if name != AUTO:
        return methods()[checked(name)](gaps)
    chosen, why = choice(gaps)
    try:
        found = methods()[chosen](gaps)
    except ProtocolError:
        if chosen == "cg-sense":
            raise
        chosen, why = "cg-sense", f"{chosen} does not fit these lines"
        found = by_cg_sense(gaps)
    return Filled(image=found.image, note=f"{found.note}; {chosen}: {why}", noise=found.noise)


def choice(gaps: Gaps) -> tuple[str, str]:
    """Name of the method the lines ask for, and why."""
    lattice = lattice_of(gaps.sampled)
    if lattice is not None and lattice.factor <= len(gaps.kspace):
        return "grappa", f"lines are regular, every {lattice.factor}th beside a full centre"
    missing = gaps.sampled.size / gaps.sampled.sum()
    if missing > DENSE:
        return "cs", f"lines are irregular and {missing:.1f} times fewer than the grid's"
    return "cg-sense", f"lines are irregular, {missing:.1f} times fewer than the grid's"


def noise_at_most(kspace: Hybrid, sampled: Bool[np.ndarray, "z y"]) -> float:
    """Noise of samples that nobody measured: no more than the median of the outermost lines.

    Standard deviation of real and imaginary part, as if the median magnitude were that of noise.
    """
    places = np.argwhere(sampled) / np.array(sampled.shape) - 0.5
    outermost = np.argsort(-np.abs(places).max(axis=1), kind="stable")
    chosen = np.argwhere(sampled)[outermost[: max(2, round(_OUTER * len(outermost)))]]
    lines = kspace[:, chosen[:, 0], chosen[:, 1]]
    return max(float(np.median(np.abs(lines))) / _RAYLEIGH, 1e-30)


def finer(
    noise: Float32[np.ndarray, "z y x"], shape: tuple[int, int]
) -> Float32[np.ndarray, "z y x"]:
    """Noise of an image interpolated to a finer grid (z, y): straight lines, origins together."""
    for axis, n_fine in enumerate(shape):
        n = noise.shape[axis]
        if n == n_fine:
            continue
        place = np.clip((np.arange(n_fine) - n_fine // 2) * (n / n_fine) + n // 2, 0, n - 1)
        low = place.astype(int)
        high = np.minimum(low + 1, n - 1)
        share = (place - low).astype(np.float32).reshape([-1 if a == axis else 1 for a in range(3)])
        noise = noise.take(low, axis) * (1 - share) + noise.take(high, axis) * share
    return noise


def _lattice(gaps: Gaps, name: str) -> Lattice:
    lattice = lattice_of(gaps.sampled)
    if lattice is None:
        raise ProtocolError(
            f"the measured lines make no regular pattern, which {name} needs "
            "(scanroom.mri.recon.methods). Use cg-sense or cs."
        )
    return lattice
