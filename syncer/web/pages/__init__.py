"""The pages of the service: rendered on the server, and usable without JavaScript."""
