"""The flask commands, a file a group."""
