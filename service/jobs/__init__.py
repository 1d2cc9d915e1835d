"""Transcribes recordings that nobody waits for on an open connection: durable jobs, whatever protocol brings them."""
