"""The Gaussian squares in closed form, and their images for reports."""
