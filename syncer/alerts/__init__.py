"""Sends people a notice when the state of a sync changes."""
