"""Features of image patches: how much an image looks, here and there, like patches that no camera took."""
