"""One file a profile store: apply."""
