"""Which scanner plays, and who lies in it."""

import functools
from dataclasses import dataclass
from pathlib import Path

import numpy as np
from jaxtyping import Float32

from scanroom.core.errors import ProtocolError
from scanroom.core.units import Ratio
from scanroom.mri.limits import limits_for
from scanroom.mri.system import System, system
from scanroom.mri.twin import IDEAL, Effort, Faults, Twin
from scanroom.mri.twin.fields import static_field
from scanroom.physics.receiver import Receiver, noise_bandwidth
from scanroom.subject import load_subject
from scanroom.subject.model import Subject

MAX_COILS = 64


@dataclass(frozen=True, slots=True, kw_only=True)
class Station:
    """The scanner and its subject for the scans of one exam.

    ``perfect`` switches every fault of the twin off. ``mode`` is the operating mode of
    IEC 60601-2-33 that the gate enforces; ``workers`` are the processes of the twin (`Effort`).
    """

    subject: str
    system: str = "3T"
    mode: str = "normal"
    n_coils: int = 8
    seed: int = 0
    perfect: bool = False
    workers: int = 1

    def __post_init__(self) -> None:
        if not 1 <= self.n_coils <= MAX_COILS:
            raise ProtocolError(
                f"coils is {self.n_coils}; it must lie between 1 and {MAX_COILS} "
                "(receiver of the twin). Choose a number in between."
            )
        if self.seed < 0:
            raise ProtocolError(
                f"seed is {self.seed}; it must be 0 or more (random generator). Choose another."
            )
        Effort(workers=self.workers)  # refuses what cannot be
        limits_for(system(self.system), mode=self.mode)  # refuses a scanner or mode unknown

    @property
    def scanner(self) -> System:
        """The system preset."""
        return system(self.system)

    @property
    def device(self) -> str:
        """What the exam record says about the device."""
        return f"digital twin of a {self.system} scanner"

    @property
    def noise_bandwidth(self) -> Ratio:
        """Share of white noise that passes the receiver's filter."""
        return 1.0 if self.perfect else noise_bandwidth(Receiver(full_scale=1.0))

    def make_device(self) -> Twin:
        """Put the subject into the twin, where it stays as long as nothing else is asked for."""
        file = Path(self.subject)
        stamp = file.stat().st_mtime_ns if file.is_file() else 0
        subject, static_field = _laid_in(self.subject, stamp, self.system, self.perfect)
        return Twin(
            subject,
            system=self.scanner,
            faults=IDEAL if self.perfect else Faults(),
            seed=self.seed,
            n_coils=self.n_coils,
            static_field=static_field,
            effort=Effort(workers=self.workers),
        )


@functools.lru_cache(maxsize=1)
def _laid_in(
    name: str,
    _stamp: int,
    system_name: str,
    perfect: bool,  # noqa: FBT001
) -> tuple[Subject, Float32[np.ndarray, "x y z"]]:
    """The subject and the field it makes in the magnet: the same for all scans of an exam."""
    scanner = system(system_name)
    subject = load_subject(name, scanner.field)
    return subject, static_field(subject, scanner, IDEAL if perfect else Faults())
