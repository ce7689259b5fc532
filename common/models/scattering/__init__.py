"""Wavelet scattering: a fixed, data-independent transform of images, and public constants that scale it."""
