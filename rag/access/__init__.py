"""API keys: how they look, what is kept of them, and who may make them. Shared by the gateway and the command line."""
