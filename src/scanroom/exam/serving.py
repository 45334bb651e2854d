"""The reconstruction server as a command: it runs until it is interrupted."""

import sys
from pathlib import Path

from scanroom.mri.recon.inline.client import address_of
from scanroom.mri.recon.inline.server import Server
from scanroom.mri.recon.options import Options


def serve(address: str, folder: Path, options: Options) -> None:
    """Answer MRD clients at ``host:port``; raw data go to ``folder``.

    Raises
    ------
    ProtocolError
        If the address is none.
    DeviceError
        If the address cannot be listened on.
    """
    host, port = address_of(address)
    server = Server(host, port, folder, options, tell=_say)
    try:
        server.serve()
    finally:
        server.close()


def _say(text: str) -> None:
    sys.stderr.write(f"{text}\n")
    sys.stderr.flush()
