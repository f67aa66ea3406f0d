"""Scheduled jobs: what runs when, the dispatcher, and the work of each, a thin file a sync."""
