"""Streaming Paraformer: live sentences, and the punctuation of partial text."""
