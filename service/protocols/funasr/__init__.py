"""FunASR's live protocol."""
