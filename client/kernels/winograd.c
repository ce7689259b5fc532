/* Convolutions with kernels of 3 x 3 at a quarter of the products, with channels last in memory.
 *
 * Every 4 x 4 results follow from 6 x 6 pixels by 36 products for each pair of channels instead of 144: pixels and
 * kernels are evaluated as polynomials at 0, 1, -1, 2, -2 and infinity, multiplied there, and the products interpolated.
 * Source: Lavin and Gray 2016, "Fast Algorithms for Convolutional Neural Networks", F(4 x 4, 3 x 3).
 */
#include "pooled.h"

#define SIDE 6
#define POINTS (SIDE * SIDE)
#define TILES 12

/* Evaluate three coefficients at six points. */
INLINE void kernel_points(const Vector g[3], Vector points[SIDE]) {
  Vector even = (g[0] + g[2]) * (-1.0f / 6), odd = g[1] * (-1.0f / 6);
  Vector even_at_two = g[0] * (1.0f / 24) + g[2] * (1.0f / 6), odd_at_two = g[1] * (1.0f / 12);
  points[0] = g[0] * 0.25f;
  points[1] = even + odd;
  points[2] = even - odd;
  points[3] = even_at_two + odd_at_two;
  points[4] = even_at_two - odd_at_two;
  points[5] = g[2];
}

INLINE void pixel_points(const Vector d[SIDE], Vector points[SIDE]) {
  Vector even = d[4] - 4 * d[2], odd = d[3] - 4 * d[1], even_at_two = d[4] - d[2], odd_at_two = 2 * (d[3] - d[1]);
  points[0] = 4 * d[0] - 5 * d[2] + d[4];
  points[1] = even + odd;
  points[2] = even - odd;
  points[3] = even_at_two + odd_at_two;
  points[4] = even_at_two - odd_at_two;
  points[5] = 4 * d[1] - 5 * d[3] + d[5];
}

INLINE void interpolate(const Vector m[SIDE], Vector results[4]) {
  Vector sum = m[1] + m[2], difference = m[1] - m[2], sum_at_two = m[3] + m[4], difference_at_two = m[3] - m[4];
  results[0] = m[0] + sum + sum_at_two;
  results[1] = difference + 2 * difference_at_two;
  results[2] = sum + 4 * sum_at_two;
  results[3] = difference + 8 * difference_at_two + m[5];
}

/* kernels [3, 3, values] at all points, [POINTS, values]. */
EXPORTED void winograd_kernels(Size values, const float *kernels, float *points) {
  for (Size value = 0; value < values; value += WIDTH) {
    Vector columns[3][SIDE];
    for (Size x = 0; x < 3; x++) {
      Vector g[3];
      for (Size y = 0; y < 3; y++) g[y] = at(kernels + (3 * y + x) * values + value);
      kernel_points(g, columns[x]);
    }
    for (Size y = 0; y < SIDE; y++) {
      Vector row[3] = {columns[0][y], columns[1][y], columns[2][y]}, whole[SIDE];
      kernel_points(row, whole);
      for (Size x = 0; x < SIDE; x++) put(points + (SIDE * y + x) * values + value, whole[x]);
    }
  }
}

/* The pixels of one tile at all points, [POINTS, TILES, C]; beyond the image is zero. */
INLINE void take_tile(const Pooled *p, Size y, Size x, const float *image, float *points) {
  for (Size c = 0; c < p->channels; c += WIDTH) {
    Vector columns[SIDE][SIDE];
    for (Size j = 0; j < SIDE; j++) {
      Vector d[SIDE];
      for (Size i = 0; i < SIDE; i++) {
        Size down = y + i, right = x + j;
        int inside = down < p->height && right < p->width;
        d[i] = inside ? at(image + (down * p->width + right) * p->channels + c) : all(0);
      }
      pixel_points(d, columns[j]);
    }
    for (Size i = 0; i < SIDE; i++) {
      Vector row[SIDE], whole[SIDE];
      for (Size j = 0; j < SIDE; j++) row[j] = columns[j][i];
      pixel_points(row, whole);
      for (Size j = 0; j < SIDE; j++) put(points + (SIDE * i + j) * TILES * p->channels + c, whole[j]);
    }
  }
}

INLINE void multiply(const Pooled *p, const float *pixels, const float *kernels, float *products, const Size vectors,
                     const Size tiles) {
  Vector sum[PLACES][MOST_CHANNELS];
  for (Size t = 0; t < tiles; t++)
    for (Size v = 0; v < vectors; v++) sum[t][v] = all(0);
  for (Size c = 0; c < p->channels; c++, kernels += p->outputs)
    for (Size v = 0; v < vectors; v++) {
      Vector kernel = at(kernels + v * WIDTH);
      for (Size t = 0; t < tiles; t++) sum[t][v] += pixels[t * p->channels + c] * kernel;
    }
  for (Size t = 0; t < tiles; t++)
    for (Size v = 0; v < vectors; v++) put(products + t * p->outputs + v * WIDTH, sum[t][v]);
}

/* products [tiles, O] = pixels [tiles, C] kernels [C, O] at one point */
INLINE void multiply_all(const Pooled *p, Size tiles, const float *pixels, const float *kernels, float *products) {
#define MULTIPLY(V, T) \
  multiply(p, pixels + tile * p->channels, kernels + o, products + tile * p->outputs + o, V, T)
#define ALONG_TILES(V)                                        \
  for (Size tile = 0, some; tile < tiles; tile += some) {     \
    some = share(tiles - tile, PLACES);                       \
    FOR_PLACES(some, MULTIPLY, V)                             \
  }
  for (Size o = 0, several; o < p->outputs; o += several * WIDTH) {
    several = share((p->outputs - o) / WIDTH, CHANNELS);
    FOR_CHANNELS(several, ALONG_TILES)
  }
#undef ALONG_TILES
#undef MULTIPLY
}

/* The results of one tile, pooled as far as they are results. */
INLINE void pool_tile(const Pooled *p, Size y, Size x, const float *products, const float *bias, float *pooled,
                      int32_t *which) {
  Size height = p->result_height / 2, width = p->result_width / 2;
  for (Size o = 0; o < p->outputs; o += WIDTH) {
    Vector columns[SIDE][4], rows[4][4], begin = bias ? at(bias + o) : all(0);
    for (Size j = 0; j < SIDE; j++) {
      Vector m[SIDE];
      for (Size i = 0; i < SIDE; i++) m[i] = at(products + (SIDE * i + j) * TILES * p->outputs + o);
      interpolate(m, columns[j]);
    }
    for (Size i = 0; i < 4; i++) {
      Vector m[SIDE];
      for (Size j = 0; j < SIDE; j++) m[j] = columns[j][i];
      interpolate(m, rows[i]);
    }
    for (Size i = 0; i < 2 && y + i < height; i++)
      for (Size j = 0; j < 2 && x + j < width; j++) {
        Vector four[NOWHERE] = {rows[2 * i][2 * j] + begin, rows[2 * i][2 * j + 1] + begin,
                                rows[2 * i + 1][2 * j] + begin, rows[2 * i + 1][2 * j + 1] + begin};
        Size place = ((y + i) * width + x + j) * p->outputs + o;
        put(pooled + place, largest_of_four(four, (Whole *)(which + place)));
      }
  }
}

/* pooled and which as `pool_of_four` gives them. kernels [POINTS, C, O] are at all points; bias may be null. There is
 * room for POINTS * TILES * (C + O) numbers. */
EXPORTED void winograd_pooled(const Pooled *p, const float *images, const float *kernels,
                              const float *bias, float *pooled, int32_t *which, float *room) {
  Size down = (p->result_height / 2 + 1) / 2, right = (p->result_width / 2 + 1) / 2, tiles = p->records * down * right;
  Size image = p->height * p->width * p->channels;
  Size result = (p->result_height / 2) * (p->result_width / 2) * p->outputs;
  float *pixels = room, *products = room + POINTS * TILES * p->channels;
  for (Size first = 0; first < tiles; first += TILES) {
    Size some = tiles - first < TILES ? tiles - first : TILES;
    for (Size t = 0; t < some; t++) {
      Size record = (first + t) / (down * right), y = (first + t) / right % down, x = (first + t) % right;
      take_tile(p, 4 * y, 4 * x, images + record * image, pixels + t * p->channels);
    }
    for (Size i = 0; i < POINTS; i++)
      multiply_all(p, some, pixels + i * TILES * p->channels, kernels + i * p->channels * p->outputs,
                   products + i * TILES * p->outputs);
    for (Size t = 0; t < some; t++) {
      Size record = (first + t) / (down * right), y = (first + t) / right % down, x = (first + t) % right;
      pool_tile(p, 2 * y, 2 * x, products + t * p->outputs, bias, pooled + record * result, which + record * result);
    }
  }
}
