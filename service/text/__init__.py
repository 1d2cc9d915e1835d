"""Makes of recognised words what readers expect."""
