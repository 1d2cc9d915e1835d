"""Recognises recordings with Paraformer, hotwords and a language model, and punctuates what it recognised."""
