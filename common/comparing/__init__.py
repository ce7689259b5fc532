"""Several runs side by side: accuracy over rounds in one chart, and what each cost in one table."""
