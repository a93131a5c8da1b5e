"""SQLite as the embedded profile store."""
