"""What the embedder talks to: models and caches."""
