"""Syncer: SQL files feed a profile store, only what changed."""
