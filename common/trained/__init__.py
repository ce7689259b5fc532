"""What can be done with a run that has trained: predict, explain, export."""
