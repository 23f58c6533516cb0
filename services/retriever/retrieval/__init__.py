"""A search: from a query to the passages that answer it."""
