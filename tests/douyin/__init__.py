"""Tests of the vendor contract."""
