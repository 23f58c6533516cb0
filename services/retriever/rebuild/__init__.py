"""A new index beside the live one: built, compared, switched to."""
