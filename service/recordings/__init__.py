"""Recordings: a file in, a transcript out."""
