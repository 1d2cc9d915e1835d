"""Recognises live audio: PCM in, typed events out; no protocol, no JSON."""
