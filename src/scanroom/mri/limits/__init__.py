"""What no sequence may exceed, and who says so."""
