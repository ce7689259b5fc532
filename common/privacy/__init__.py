"""What a mechanism costs, what a history costs, and how much noise a budget asks for."""
