"""Three instruments, one corridor: subject, protocol, drive, gate, device, raw, recon, report."""

__version__ = "0.1.0"
