"""Audio of any kind as 16 kHz PCM, and what is found in it before anybody recognises a word."""
