"""Makes audio of any kind 16 kHz PCM, and finds in it what can be found before anybody recognises a word."""
