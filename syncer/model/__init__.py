"""The values, errors, protocols and entities that every part speaks of; no I/O."""
