"""Takes recordings in: upload or download, a place in the queue, clients that go away."""
