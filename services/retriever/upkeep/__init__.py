"""What goes on in the background: erasing, scrubbing, comparing."""
