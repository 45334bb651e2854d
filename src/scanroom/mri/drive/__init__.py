"""Protocol to waveforms, and waveforms from any Pulseq file."""
