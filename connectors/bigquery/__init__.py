"""Google BigQuery as a warehouse."""
