"""States that follow a known differential equation, and an environment to act in."""
