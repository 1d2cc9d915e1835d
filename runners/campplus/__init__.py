"""CAM++: speaker vectors."""
