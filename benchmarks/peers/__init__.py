"""The same work by others: stock Flower with Ray and Opacus, and pfl."""
