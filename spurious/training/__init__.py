"""The one training loop, what it minimises, and its models."""
