"""Syncer: SQL files feed a profile store, only what changed."""

__version__ = "0.1.0"
