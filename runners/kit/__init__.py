"""Holds what several model families use."""
