"""Exports and imports from the screens."""
