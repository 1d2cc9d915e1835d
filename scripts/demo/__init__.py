"""Makes the demo model pack: sentences -> synthetic speech -> training -> evaluation."""
