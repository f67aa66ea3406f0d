"""Telling people: kinds of notices, who is told what, and the channels by which it reaches them."""
