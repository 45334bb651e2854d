"""Everything the stack refuses, in one tree.

ScanroomError
    ProtocolError     the request is impossible as written
    FormatError       a file is not what it claims to be, or is damaged
    SafetyRefusal     the gate will not let the drive pass
    InterlockOpen     a run was stopped while playing
    DeviceError       hardware or twin failed

Every text carries the value, the bound, the source of the bound and what to do.
"""


class ScanroomError(Exception):
    """Base of every error raised on purpose; the command line prints it and leaves with code 2."""


class ProtocolError(ScanroomError):
    """The request is impossible as written."""


class FormatError(ScanroomError):
    """A file is not what it claims to be, is damaged, or is larger than we agree to read."""


class SafetyRefusal(ScanroomError):
    """The gate will not let the drive pass."""


class InterlockOpen(ScanroomError):
    """A run was stopped while playing."""


class DeviceError(ScanroomError):
    """Hardware or twin failed."""
