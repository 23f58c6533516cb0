"""Generated from protos/rag/v1 by `make protos`; never edited by hand."""
