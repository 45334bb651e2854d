"""Images to quantities."""

from scanroom.mri.maps.model import Map

__all__ = ["Map"]
