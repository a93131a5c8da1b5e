"""Amazon Redshift as a warehouse."""
