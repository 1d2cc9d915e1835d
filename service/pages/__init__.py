"""Serves pages for people: documentation, the live page, the status."""
