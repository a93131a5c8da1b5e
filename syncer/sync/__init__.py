"""One run of one sync."""
