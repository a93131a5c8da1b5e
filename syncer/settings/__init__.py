"""One frozen Settings, or every problem at once."""
