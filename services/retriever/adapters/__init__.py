"""What the retriever talks to: Milvus, Redis and the embedder."""
