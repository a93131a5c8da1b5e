"""What the SQL profile stores share: their tables, and how batches become statements."""
