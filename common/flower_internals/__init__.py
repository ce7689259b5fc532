"""Every name of Flower that is not public, in this one place: for flwr 1.41 and no other.

Contract tests hold each name and signature against the installed Flower, and say which has changed. Nothing
of Flower is imported before it is needed.
"""
