"""What the gateway reads in the messages that pass through it."""
