"""A scanner that exists only in memory: armed with a cleared drive, it plays and receives."""

import dataclasses
import hashlib
import threading
from collections.abc import Callable, Iterator, Mapping
from typing import Any

import numpy as np
from jaxtyping import Float, Float32

import scanroom
from scanroom.core.errors import DeviceError, InterlockOpen, ProtocolError
from scanroom.core.gate import Cleared
from scanroom.mri.drive.model import Drive
from scanroom.mri.raw.model import Readout
from scanroom.mri.system import System
from scanroom.mri.twin import transmitting
from scanroom.mri.twin.effort import Effort
from scanroom.mri.twin.farm import farmed
from scanroom.mri.twin.faults import MAX_COILS, Faults
from scanroom.mri.twin.filling import Filling
from scanroom.mri.twin.playing import Playing
from scanroom.mri.twin.programme import programme
from scanroom.mri.twin.receiving import Chain, covariance_of
from scanroom.mri.twin.transfer import refuse_transfer
from scanroom.physics.amplifier import amplify
from scanroom.physics.coils import head_array
from scanroom.physics.spins.classwise import error_bound
from scanroom.physics.spins.continuum import Lost
from scanroom.physics.spins.engine import Control
from scanroom.physics.spins.program import Program
from scanroom.subject.model import Subject


class Twin:
    """Digital twin of the scanner, with a subject inside.

    ``static_field`` [Hz] is what `fields.static_field` says of it, if that is known already.
    """

    name = "scanroom-mri-twin"

    def __init__(
        self,
        subject: Subject,
        *,
        system: System,
        faults: Faults | None = None,
        seed: int = 0,
        n_coils: int = 8,
        effort: Effort | None = None,
        static_field: Float32[np.ndarray, "x y z"] | None = None,
    ) -> None:
        if not 1 <= n_coils <= MAX_COILS:
            raise ProtocolError(
                f"the twin has {n_coils} coils; it may have 1 to {MAX_COILS} "
                "(scanroom.physics.coils). Ask for a number in that range."
            )
        self.subject, self.system = subject, system
        self.faults = faults or Faults()
        self.effort = effort or Effort()
        self.seed, self.n_coils = seed, n_coils
        self.progress: Callable[[float], None] | None = None
        self.output = 0.0
        if any(not 0 <= coil < n_coils for coil in self.faults.dead):
            raise ProtocolError(
                f"dead channels are {self.faults.dead}; there are 0 to {n_coils - 1} "
                "(scanroom.mri.twin). Name channels that exist."
            )
        self._filling = Filling(
            subject,
            system,
            self.faults,
            self.effort.of_one,
            seed=seed,
            array=head_array(n_coils),
            static_field=static_field,
        )
        plain = self._filling.courses.plain
        if not plain and self.effort.engine in {"classes", "continuum"}:
            raise ProtocolError(
                f"the engine {self.effort.engine} is asked for with motion, flow or fields that "
                "plain gradients do not make; the engine isochromats follows those "
                "(scanroom.mri.twin). Take the engine auto or isochromats."
            )
        if self._filling.diffuses and (self.effort.engine == "isochromats" or not plain):
            raise ProtocolError(
                "diffusion is asked for with flow or with the engine isochromats, whose points do "
                "not diffuse (scanroom.mri.twin). Take a subject at rest and the engine auto."
            )
        refuse_transfer(subject, wanted=self.faults.transfer, diffusing=self._filling.diffuses)
        self._lock = threading.Lock()
        self._control = Control()
        self._armed: tuple[Drive, str, Program] | None = None
        self._n_played = 0
        self._covariance: np.ndarray | None = None
        self._truth: dict[str, Any] = {}
        self._lost = Lost()

    @property
    def truth(self) -> Mapping[str, Any]:
        """What only the twin can know; written beside the run, read by nothing downstream."""
        by_classes = self._truth.get("engine") == "classes"
        bound = error_bound(self.effort.settings, self._lost) if by_classes else None
        return {
            "error_bound": bound,
            "device": self.name,
            "version": scanroom.__version__,
            "subject": self.subject.name,
            "system": self.system.name,
            "seed": self.seed,
            "n_coils": self.n_coils,
            "faults": dataclasses.asdict(self.faults),
            "effort": dataclasses.asdict(self.effort),
            "static_field_hz": self._filling.static_field(),
            "largest_configuration_lost": self._lost.size,
            "shown_of_those_lost": self._lost.shown,
            **self._truth,
        }

    def arm(self, cleared: Cleared[Drive]) -> None:
        """Load the drive; outputs stay off.

        Raises
        ------
        DeviceError
            If the twin is playing.
        """
        drive = cleared.open()
        transmitting.weights_of(drive, self.system.n_transmit)
        program = programme(
            self._amplified(drive),
            self._filling.courses.timeline(drive),
            diffusing=self._filling.diffuses,
        )
        with self._lock:
            if self.output != 0.0:
                raise DeviceError(
                    f"{self.name} is playing; it takes one drive at a time "
                    "(scanroom.core.device). Stop it or wait for its end before arming it again."
                )
            self._armed = (drive, cleared.digest, program)
            self._control = Control()

    def play(self) -> Iterator[Readout]:
        """Play the armed drive once and yield every window's samples as they come.

        Raises
        ------
        DeviceError
            If nothing is armed.
        InterlockOpen
            If the twin is stopped while it plays.
        """
        with self._lock:
            if self._armed is None:
                raise DeviceError(
                    f"{self.name} has nothing to play; a device plays what it was armed with, once "
                    "(scanroom.core.device). Call arm with a cleared drive first."
                )
            drive, digest, program = self._armed
            self._armed, self.output, control = None, 1.0, self._control
            play_number, self._n_played = self._n_played, self._n_played + 1
        control.progress = self.progress
        try:
            playing = self._playing(drive, program)
            with farmed(playing, control, self.effort.workers) as led:
                signals, loudest = playing.signals(led)
                chain = self._chain(drive, loudest, f"{self.seed}/{digest}/{play_number}")
                for index, signal in enumerate(signals):
                    if control.stop[0]:
                        break
                    readout = chain.receive(index, signal)
                    self._truth["n_clipped"] = chain.n_clipped
                    yield readout
            if control.stop[0]:
                raise InterlockOpen(f"{self.name} was stopped while playing {drive.name!r}.")
        finally:
            self.output = 0.0

    def stop(self) -> None:
        """Bring every output to zero: any time, any thread, any number of times."""
        self._control.stop[0] = 1
        self._armed = None
        self.output = 0.0

    def _amplified(self, drive: Drive) -> Drive:
        """Pass pulses through the amplifier."""
        amplifier = self.faults.amplifier
        if amplifier is None:
            return drive
        shapes = tuple(
            dataclasses.replace(shape, step=amplify(amplifier, shape.edge, shape.step))
            for shape in drive.shapes
        )
        return dataclasses.replace(drive, shapes=shapes)

    def _playing(self, drive: Drive, program: Program) -> Playing:
        """What is to be played, which notes the truth."""
        self._filling.weights = transmitting.weights_of(drive, self.system.n_transmit)
        playing = Playing(self._filling, drive, program)
        self._truth, self._lost = playing.truth, playing.lost
        return playing

    def _noise(self) -> Float[np.ndarray, "coil coil"]:
        """Covariance of the noise per hertz of bandwidth [V2/Hz]."""
        if self._covariance is None:
            self._covariance = covariance_of(
                self.subject, self._filling.array, self.system, self.faults
            )
        return self._covariance

    def _chain(self, drive: Drive, loudest: float, key: str) -> Chain:
        """What happens between the coils and the raw data; its truth is noted."""
        seed = int.from_bytes(hashlib.blake2b(key.encode(), digest_size=8).digest(), "little")
        covariance = self._noise() if self.faults.noise else None
        chain = Chain(drive.windows, self.faults, covariance, loudest, seed)
        self._truth |= {"full_scale_volt": chain.receiver.full_scale, "n_clipped": 0}
        return chain
