"""What an operation may ask for: how deep, how often, how much, how long."""
