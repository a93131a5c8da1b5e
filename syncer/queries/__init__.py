"""A definition's SQL: its template, and what may be sent to a warehouse."""
