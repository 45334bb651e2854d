"""Who plays what: a process alone, or several that play the same programme to the same subject.

Work is numbered - lanes of `engine` and `continuum`, lots of `classwise` - and each number is done
by one member. What it fills in is brought to the member that leads, which adds everything up in the
order of the numbers, as a process alone does: bytes do not depend on how many there are.
"""

from collections.abc import Sequence

import numpy as np
from jaxtyping import Int

Parts = Sequence[Sequence[np.ndarray]]
"""Arrays of each number, without gaps in memory, equally large with every member."""


class Team:
    """A process that is alone: it does all there is, and nothing needs to be brought to it."""

    leads = True
    """Whether what is brought comes here."""
    alone = True
    """Whether there is nobody else."""

    def plays(self, number: int) -> bool:  # noqa: ARG002
        """Whether work of this number is done here."""
        return True

    def bring(self, parts: Parts, first: int = 0) -> None:
        """Bring what the members filled in to the one that leads, into its own arrays.

        ``parts`` are those of the numbers from ``first`` on.
        """

    def share(self, work: Sequence[Int[np.ndarray, " _"]]) -> list[Int[np.ndarray, " _"]]:
        """Empty the work of all numbers that are not done here."""
        return [mine if self.plays(number) else mine[:0] for number, mine in enumerate(work)]
