"""What a list's filters say, in words."""
