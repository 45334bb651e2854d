"""How finely and with what the twin computes."""

import dataclasses

from scanroom.core.errors import ProtocolError
from scanroom.physics.spins.engine import LANES, Settings

# What an exam on two cores needs: within a hundredth of the signal; tests and studies ask for less.
QUICK = Settings(faintest=2e-3, error=7e-3)
MOST_PARTS = 1024
ENGINES = ("auto", "classes", "continuum", "isochromats")


@dataclasses.dataclass(frozen=True, slots=True, kw_only=True)
class Effort:
    """How finely and with what the twin computes.

    The engine ``classes`` computes once what voxels have in common; ``auto`` takes it where pulses
    select along one axis of the subject's grid, all with the same weights of transmit channels, and
    voxels have much in common, and else ``continuum``. There voxels are boxes, cut so that the
    phase of a pulse varies by less than ``step`` turns across one, and gradients spoil
    as in a continuum. With ``isochromats`` each voxel holds ``isochromats`` of them, ``in_trains``
    in trains of refocusing pulses, which leave more behind that must cancel; ``columns`` stands
    them in columns across the slices (see
    `sampling`), where every pulse selects a slice. Voxels that no pulse tilts by more than
    ``faint`` [rad] contribute little and get a single box or isochromat; those that none tilts by
    more than the tolerance of the settings get none.

    Voxels are played in ``parts`` one after another, or more where their memory asks for it, whose
    signals are added up in their order. So many ``workers``, processes that share the threads of
    the settings, play at the same time, which changes no byte.

    Motion, flow and fields that plain gradients do not make are followed by ``isochromats`` alone,
    which ``auto`` then takes.
    """

    engine: str = "auto"
    step: float = 1.0
    isochromats: int = 3
    in_trains: int = 5
    columns: bool = True
    faint: float = 0.05
    parts: int = 1
    workers: int = 1
    settings: Settings = QUICK

    def __post_init__(self) -> None:
        if self.engine not in ENGINES:
            raise ProtocolError(
                f"engine is {self.engine!r}; it may be one of {', '.join(ENGINES)} "
                "(scanroom.mri.twin). Choose one of them."
            )
        for name, value, most in (
            ("parts", self.parts, MOST_PARTS),
            ("workers", self.workers, LANES),
        ):
            if not 1 <= value <= most:
                raise ProtocolError(
                    f"{name} is {value}; it may be 1 to {most} (scanroom.mri.twin). Choose a "
                    "number in that range."
                )

    @property
    def of_one(self) -> "Effort":
        """The effort of one worker: its share of the threads."""
        threads = max(1, self.settings.threads // self.workers)
        return dataclasses.replace(
            self, settings=dataclasses.replace(self.settings, threads=threads)
        )
