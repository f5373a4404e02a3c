"""DMD and DHMD: one network whose stages can be absent."""
