"""What the operator may choose of a reconstruction."""

from dataclasses import dataclass

from scanroom.core.choice import one_of
from scanroom.core.errors import ProtocolError
from scanroom.mri.recon.apodise import checked as checked_apodisation
from scanroom.mri.recon.intensity import checked as checked_intensity
from scanroom.mri.recon.methods import REGULARISATIONS, SENSITIVITIES
from scanroom.mri.recon.methods import checked as checked_method
from scanroom.mri.recon.partial_fourier import checked as checked_partial

COMBINATIONS = ("adaptive", "root-sum-of-squares")
_HERE = "scanroom.mri.recon.options"


@dataclass(frozen=True, slots=True, kw_only=True)
class Options:
    """Choices, each one of a few words.

    ``partial_fourier`` is ``"pocs"``, ``"homodyne"`` or ``"zero-fill"``; ``combination`` of coils
    ``"adaptive"`` or ``"root-sum-of-squares"``; ``apodisation`` ``"none"``, ``"hann"``,
    ``"hamming"`` or ``"tukey"``; ``intensity`` ``"received"`` or ``"even"``, without shading
    (`intensity`), no longer in units of the noise. Images are magnitudes unless
    ``complex_images``.

    Where lines are missing ``method`` fills them: ``"auto"``, one of `methods.BUILT_IN`, or what an
    installed package adds; ``regularisation`` is what compressed sensing takes images to be sparse
    in, ``"wavelet"``, ``"tv"`` or ``"tgv"``; ``sensitivities`` are found by ``"espirit"``,
    ``"walsh"`` or ``"auto"``.

    Raises
    ------
    ProtocolError
        If a word is none of those there are.
    """

    partial_fourier: str = "pocs"
    combination: str = COMBINATIONS[0]
    apodisation: str = "none"
    intensity: str = "received"
    complex_images: bool = False
    method: str = "auto"
    regularisation: str = REGULARISATIONS[0]
    sensitivities: str = SENSITIVITIES[0]

    def __post_init__(self) -> None:
        checked_partial(self.partial_fourier)
        checked_apodisation(self.apodisation)
        checked_intensity(self.intensity)
        checked_method(self.method)
        one_of("regularisation", self.regularisation, REGULARISATIONS, _HERE)
        one_of("sensitivities", self.sensitivities, SENSITIVITIES, _HERE)
        with_phase = self.complex_images and self.combination != COMBINATIONS[0]
        if self.combination not in COMBINATIONS or with_phase:
            raise ProtocolError(
                f"combination is {self.combination!r}; it may be {' or '.join(COMBINATIONS)}, the "
                "first where complex images are wanted (scanroom.mri.recon). Choose one of them."
            )
