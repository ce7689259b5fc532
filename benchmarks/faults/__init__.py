"""Kills and network cuts in real runs: what is lost, what is charged twice, how long it takes to go on."""
