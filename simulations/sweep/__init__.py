"""Many simulations side by side: grids, successive halving, and private selection of one among them."""
