"""Who comes in: keys, tokens, and what is asked of those who bring neither."""
