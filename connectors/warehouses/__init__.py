"""One file a warehouse: query to Arrow."""
