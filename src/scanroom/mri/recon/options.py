"""What the operator may choose of a reconstruction."""

from dataclasses import dataclass

from scanroom.core.choice import one_of
from scanroom.core.errors import ProtocolError
from scanroom.mri.recon.apodise import checked as checked_apodisation
from scanroom.mri.recon.focus import BY_ITSELF, read_field
from scanroom.mri.recon.intensity import checked as checked_intensity
from scanroom.mri.recon.methods import REGULARISATIONS, SENSITIVITIES
from scanroom.mri.recon.methods import checked as checked_method
from scanroom.mri.recon.partial_fourier import checked as checked_partial
from scanroom.mri.recon.straighten import read_coefficients
from scanroom.mri.recon.trajectory import DELAYS, read_response

COMBINATIONS = ("adaptive", "root-sum-of-squares")
MOST_COILS, MOST_REPLICAS = 1024, 1000
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

    Of trajectories: ``delays`` of spokes are found in them (``"auto"``) or not (``"none"``);
    ``girf`` is the file of a measured gradient response (`trajectory.read_response`);
    ``off_resonance`` is ``"none"``, ``"autofocus"`` or the NIfTI file of a field map [Hz].
    ``unwarp`` is a file of gradient coefficients (`straighten.read_coefficients`). More than
    ``virtual_coils`` coils are compressed to so many, by principal components; 0 keeps all.
    ``replicas`` repeats the reconstruction so often with more noise, for a map of its own noise
    (`replicas`).

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
    delays: str = DELAYS[0]
    girf: str = ""
    off_resonance: str = "none"
    unwarp: str = ""
    virtual_coils: int = 0
    replicas: int = 0

    def __post_init__(self) -> None:
        checked_partial(self.partial_fourier)
        checked_apodisation(self.apodisation)
        checked_intensity(self.intensity)
        checked_method(self.method)
        one_of("regularisation", self.regularisation, REGULARISATIONS, _HERE)
        one_of("sensitivities", self.sensitivities, SENSITIVITIES, _HERE)
        one_of("delays", self.delays, DELAYS, _HERE)
        self._check_numbers()
        self._check_files()
        with_phase = self.complex_images and self.combination != COMBINATIONS[0]
        if self.combination not in COMBINATIONS or with_phase:
            raise ProtocolError(
                f"combination is {self.combination!r}; it may be {' or '.join(COMBINATIONS)}, the "
                "first where complex images are wanted (scanroom.mri.recon). Choose one of them."
            )

    def _check_numbers(self) -> None:
        for name, value, most in (
            ("virtual_coils", self.virtual_coils, MOST_COILS),
            ("replicas", self.replicas, MOST_REPLICAS),
        ):
            if not 0 <= value <= most or value == 1:
                raise ProtocolError(
                    f"{name} is {value}; it may be 0, for none, or 2 to {most} ({_HERE}). Choose a "
                    "number in that range."
                )

    def _check_files(self) -> None:
        if self.girf:
            read_response(self.girf)
        if self.unwarp:
            read_coefficients(self.unwarp)
        known = self.off_resonance in {"none", BY_ITSELF}
        if not known and not self.off_resonance.endswith((".nii", ".nii.gz")):
            raise ProtocolError(
                f"off_resonance is {self.off_resonance!r}; it may be none, {BY_ITSELF}, or a field "
                f"map in Hz as .nii or .nii.gz ({_HERE}). Choose one of them."
            )
        if not known:
            read_field(self.off_resonance)
