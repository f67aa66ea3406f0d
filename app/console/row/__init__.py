"""One row: its page, tabs and history."""
