"""What can be changed: one mutation a module, each with its input and its payload."""
