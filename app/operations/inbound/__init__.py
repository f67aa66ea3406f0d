"""Pushes: verified and stored within the request, processed afterwards."""
