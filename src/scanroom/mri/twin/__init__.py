"""A scanner that exists only in memory."""
