"""Moving rows in and out of the console: exports, imports, and the background tasks that carry the long ones."""
