"""Stand-ins for the services that Syncer speaks to, and real servers, started for tests."""
