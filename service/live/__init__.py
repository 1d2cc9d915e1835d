"""Live recognition: PCM in, typed events out; no protocol, no JSON."""
