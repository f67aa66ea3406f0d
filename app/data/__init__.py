"""What all floors stand on: the engine, tenants, secrets at rest, files, texts, and the kinds of a column."""
