"""OpenAI's Audio API and its Realtime API."""
