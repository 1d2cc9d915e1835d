"""How the demo model pack is made: sentences -> synthetic speech -> training -> evaluation."""
