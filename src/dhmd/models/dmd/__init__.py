"""DMD and DHMD: one network with optional stages."""
