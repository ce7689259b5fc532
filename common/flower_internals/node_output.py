"""What a SuperNode says on standard output, and what follows from it; nothing of Flower is imported."""

from __future__ import annotations

MESSAGE_SIGNS = ("Receiving: ", "Received successfully")
"""What it says when a message comes, and when the whole of it is there to be taken."""
