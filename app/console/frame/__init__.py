"""The frame around every page: shell, palette, bell, tasks."""
