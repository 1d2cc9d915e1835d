"""Recognises recordings and live sentences with Qwen3-ASR and its forced aligner."""
