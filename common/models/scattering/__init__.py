"""Wavelet scattering: a fixed, data-independent transform of images, and the public constants that scale it."""
