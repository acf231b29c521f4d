"""What datasets a store holds, and what is in them."""
