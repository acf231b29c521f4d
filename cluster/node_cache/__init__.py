"""The decoded datasets of a node, shared by its workers."""
