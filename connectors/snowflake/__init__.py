"""Snowflake as a warehouse."""
