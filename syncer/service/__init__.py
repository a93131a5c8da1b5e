"""The service: keeps the schedule, takes orders, and runs syncs side by side in one process."""
