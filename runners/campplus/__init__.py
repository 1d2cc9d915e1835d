"""Computes speaker vectors with CAM++."""
