"""Model services (runners) with adaptive batching, and what they need to find and run their models."""
