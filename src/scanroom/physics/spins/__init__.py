"""Bloch's equation for many isochromats, from waveforms alone.

``program`` is what is played, ``ensemble`` who it is played to, ``engine`` plays it; ``oracle``
does the same slowly in double precision.
"""
