"""Holds what several protocols use: names, fields, hotwords, subtitles, how a live conversation is held."""
