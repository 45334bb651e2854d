"""The doors of the corridor: units, documents, gate, device, engine, errors, result."""
