"""Imports: which column is which, what a row says, what becomes of it."""
