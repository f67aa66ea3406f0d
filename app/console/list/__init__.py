"""Lists: rows, editing in place, saved views, order."""
