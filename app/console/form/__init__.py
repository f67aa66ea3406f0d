"""Forms, whole and in parts, and what becomes of two people's changes."""
