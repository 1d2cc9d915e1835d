"""The protocols that clients speak, a folder for each vendor."""
