"""Recognised words as readers expect them."""
