"""Qwen3-ASR's live protocol."""
