"""An index in files: exported from one retriever, imported into another, whatever store is behind each."""
