"""Words of which only a few are allowed."""

from collections.abc import Iterable

from scanroom.core.errors import ProtocolError


def one_of(
    what: str,
    word: str,
    allowed: Iterable[str],
    source: str,
    *,
    remedy: str = "Choose one of them.",
) -> str:
    """Return the word if it is allowed; ``what`` names the thing chosen, ``source`` who says so.

    Raises
    ------
    ProtocolError
        If it is not; the text lists what is.
    """
    words = tuple(allowed)
    if word not in words:
        raise ProtocolError(
            f"{what} is {word!r}; it may be one of {', '.join(words)} ({source}). {remedy}"
        )
    return word
