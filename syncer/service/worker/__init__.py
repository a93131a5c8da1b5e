"""Runs that a service orders, made on any machine by workers."""
