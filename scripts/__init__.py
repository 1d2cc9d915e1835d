"""Holds the tools around the service: the demo model pack, benchmarks, model preparation."""
