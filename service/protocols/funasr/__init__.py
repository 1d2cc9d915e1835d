"""Speaks FunASR's live protocol (see first_message.py for its paths)."""
