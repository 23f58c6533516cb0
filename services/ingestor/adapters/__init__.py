"""What the ingestor reaches through: Redis, blobs, the parser child, the embedder and the index."""
