"""The ingestor: from an uploaded file to passages in the index, durably."""
