"""What a process that answers holds: models in memory and the queue in front of them."""
