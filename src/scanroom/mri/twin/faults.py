"""What is not ideal about the twin: each imperfection can be set or switched off."""

from dataclasses import dataclass

from scanroom.core.errors import ProtocolError
from scanroom.core.units import Hertz, Kelvin, Ratio, Second
from scanroom.physics.amplifier import Amplifier
from scanroom.physics.gradient_fields import Eddy, Nonlinearity, Response
from scanroom.physics.motion import Motion
from scanroom.physics.receiver import Drift

MAX_COILS = 64


@dataclass(frozen=True, slots=True, kw_only=True)
class Faults:
    """Imperfections of magnet, transmitter, gradients, receiver and tissue.

    ``shim_order`` is the order of the spherical harmonics that the shim takes away from the
    susceptibility field (-1: no shim); ``shim_error`` is what it leaves on top: an offset [Hz]
    and three gradients [Hz/m]. ``gradient_delay`` [s] is how much later each axis plays than
    the drive says. ``coils`` off means that every coil is alike and uniform.

    Off unless asked for: ``fat_peaks`` gives fat its six peaks instead of one; ``diffusion`` dims
    what gradients dephase, which orders of dephasing show, isochromats do not; ``transfer`` lets
    magnetisation go over to bound protons, which pulses saturate. ``concomitant``
    fields, ``nonlinearity`` of the gradients, ``eddy`` currents or a measured ``response``,
    ``field_drift`` [Hz/s] and ``motion`` of the subject are followed by the engine of isochromats.
    ``amplifier`` distorts pulses; ``drift`` of the receiver, ``spikes`` (their chance per window)
    and ``dead`` channels spoil what is received.
    """

    b0: bool = True
    shim_order: int = 2
    shim_error: tuple[Hertz, float, float, float] = (3.0, 0.0, 0.0, 0.0)
    chemical_shift: bool = True
    t2_prime: bool = True
    b1: bool = True
    coils: bool = True
    gradient_delay: tuple[Second, Second, Second] = (1.0e-6, 1.0e-6, 1.0e-6)
    noise: bool = True
    noise_figure: Ratio = 0.5
    coil_temperature: Kelvin = 293.15
    filter: bool = True
    quantisation: bool = True
    n_bits: int = 16
    fat_peaks: bool = False
    diffusion: bool = False
    transfer: bool = False
    concomitant: bool = False
    nonlinearity: Nonlinearity | None = None
    eddy: tuple[Eddy, ...] = ()
    response: Response | None = None
    field_drift: float = 0.0
    motion: Motion | None = None
    amplifier: Amplifier | None = None
    drift: Drift | None = None
    spikes: Ratio = 0.0
    dead: tuple[int, ...] = ()

    def __post_init__(self) -> None:
        if self.shim_order not in {-1, 0, 1, 2}:
            raise ProtocolError(
                f"shim order is {self.shim_order}; it may be -1 (no shim), 0, 1 or 2 (the coils of "
                "a clinical scanner). Choose one of them."
            )
        if not 2 <= self.n_bits <= 32:
            raise ProtocolError(
                f"the converter has {self.n_bits} bits; it may have 2 to 32 "
                "(scanroom.physics.receiver). Choose a number in that range."
            )
        if not all(abs(delay) <= 1e-3 for delay in self.gradient_delay):
            raise ProtocolError(
                f"gradient delays are {self.gradient_delay} s; each may be at most 1 ms "
                "(amplifiers are later by microseconds). Give them in seconds."
            )
        if not 0 <= self.spikes <= 1:
            raise ProtocolError(
                f"the chance of a spike in a window is {self.spikes}; it may be 0 to 1 "
                "(scanroom.mri.twin). Give a probability."
            )
        if not abs(self.field_drift) <= 10:
            raise ProtocolError(
                f"the field drifts by {self.field_drift} Hz/s; it may drift by 10 at most "
                "(passive shim iron that warms up: 0.1 Hz/s). Give hertz per second."
            )
        if self.motion is not None and (self.concomitant or self.nonlinearity is not None):
            raise ProtocolError(
                "motion is asked for with concomitant fields or bent gradients; the twin follows "
                "those in a subject at rest only (scanroom.mri.twin). Switch one of them off."
            )
        moves = self.motion is not None or self.field_drift != 0.0
        bends = self.concomitant or self.nonlinearity is not None
        if self.diffusion and (moves or bends or self.eddy or self.response is not None):
            raise ProtocolError(
                "diffusion is asked for with motion or fields that plain gradients do not make; "
                "orders of dephasing diffuse, and those do not follow such fields "
                "(scanroom.mri.twin). Switch one of them off."
            )
        if self.response is not None and self.eddy:
            raise ProtocolError(
                "a measured response of the gradients is asked for with eddy currents; it holds "
                "them already (scanroom.mri.twin). Give one of the two."
            )


IDEAL = Faults(
    b0=False,
    shim_error=(0.0, 0.0, 0.0, 0.0),
    chemical_shift=False,
    t2_prime=False,
    b1=False,
    coils=False,
    gradient_delay=(0.0, 0.0, 0.0),
    noise=False,
    filter=False,
    quantisation=False,
)
