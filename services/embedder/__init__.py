"""The embedder: texts in, vectors out, from a cache when they are known."""
