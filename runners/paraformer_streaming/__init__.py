"""Recognises live sentences with streaming Paraformer, and punctuates their partial text."""
