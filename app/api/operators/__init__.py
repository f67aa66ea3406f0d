"""REST for operators and their scripts."""
