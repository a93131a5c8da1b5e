"""PostgreSQL, as a warehouse and as a profile store."""
