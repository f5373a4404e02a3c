"""Speed of the suite beside a plain implementation of the same mathematics; the suite itself does not use this package."""
