"""Transcribes recordings: a file in, a transcript out."""
