"""A recording on its way in: upload or download, its place in the queue, a client that goes away."""
