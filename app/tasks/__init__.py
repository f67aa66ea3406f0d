"""Long work on our own rows: the queue, the pool that works on it, bulk edits, exports, imports."""
