"""Logs, and the secrets that are kept out of them."""
