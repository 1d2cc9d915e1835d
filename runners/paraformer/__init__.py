"""Paraformer: offline recognition with hotwords and a language model, and punctuation."""
