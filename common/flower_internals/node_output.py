"""What a SuperNode says on standard output, and what follows from it; nothing of Flower is imported."""

from __future__ import annotations

MESSAGE_SIGNS = ("Receiving: ", "Received successfully")
"""What it says when a message comes, and when the whole of it is there to be taken."""

BROKEN_OFF = (" status. Ignoring message ", "Failed to receive message")
"""What it says when a run ended, or its server went away, while a message was being fetched. It goes on, but
whoever has taken that message waits for the rest of it, for up to two hours, and takes no other."""
