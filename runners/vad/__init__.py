"""Finds where speech is with FSMN-VAD."""
