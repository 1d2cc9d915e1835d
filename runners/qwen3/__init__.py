"""Qwen3-ASR with its forced aligner, offline and live."""
