"""Reproducible benchmarks: one command each; they print figures and assert only what must hold."""
