"""How fast the suite is, beside a plain implementation of the same mathematics; nothing of the suite reads this."""
