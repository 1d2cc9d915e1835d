"""Serves models from processes of their own (runners), with adaptive batching, and finds and checks their files."""
