"""The manual: its topics, searched, and rendered as HTML."""
