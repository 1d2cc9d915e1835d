"""Alibaba Cloud's speech service: the REST API and the live protocol."""
