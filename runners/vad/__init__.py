"""FSMN-VAD: where speech is."""
