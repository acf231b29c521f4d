"""Phantom chest films with pneumothoraces and chest tubes."""
