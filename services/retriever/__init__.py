"""The retriever: owns the index and the catalogue of documents, and finds the passages that match a query."""
