"""What measures speed and accuracy, apart from the tests."""
