"""What whoever runs the service asks: whether all is well, and whether both stores agree."""
