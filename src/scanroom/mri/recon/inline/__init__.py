"""Images while data arrive: the room's server, its client, and what they share."""
