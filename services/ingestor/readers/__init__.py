"""The readers of document formats. They run in a limited child process and import nothing that it does not need."""
