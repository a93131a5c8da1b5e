"""From .sql files to definitions, or errors with a line."""
