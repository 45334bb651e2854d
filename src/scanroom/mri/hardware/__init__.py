"""Drivers of real devices and readers of what they recorded."""
