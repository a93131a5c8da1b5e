"""Snapshots that several machines share: where they are kept, and how a machine's copy follows them."""
