"""A mini-program comes to us and leaves: links, the landing, whose it is, its credentials."""
