"""Customer.io as a profile store, through its Track, App and Pipelines APIs."""
