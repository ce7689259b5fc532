/* A matrix of weights and the few vectors of a batch: the weights are read once, and rows of vectors stay near.
 *
 * inputs [b, columns], weights [rows, columns], outputs [b, rows], all of float32 and contiguous. columns is a multiple
 * of WIDTH, rows of ROWS.
 */
#include "vectors.h"

#define ROWS 4
#define BLOCK 256

INLINE float sum_of(Vector v) {
  float total = 0;
  for (int i = 0; i < WIDTH; i++) total += v[i];
  return total;
}

INLINE void dot_products(Size columns, const float *inputs, const float *weights, float *outputs, const Size records) {
  Vector sum[PLACES][ROWS];
  for (Size r = 0; r < records; r++)
    for (Size o = 0; o < ROWS; o++) sum[r][o] = all(0);
  for (Size k = 0; k < columns; k += WIDTH)
    for (Size o = 0; o < ROWS; o++) {
      Vector weight = at(weights + o * columns + k);
      for (Size r = 0; r < records; r++) sum[r][o] += weight * at(inputs + r * columns + k);
    }
  for (Size r = 0; r < records; r++)
    for (Size o = 0; o < ROWS; o++) outputs[r * ROWS + o] = sum_of(sum[r][o]);
}

/* outputs [blocks, b, ROWS], of rows in blocks of ROWS: the products of inputs and weights. */
EXPORTED void matrix_forward(Size records, Size blocks, Size columns, const float *inputs, const float *weights,
                             float *outputs) {
#define DOT_PRODUCTS(C, R) \
  dot_products(columns, inputs + record * columns, weights, outputs + record * ROWS, R)
  for (Size block = 0; block < blocks; block++, weights += ROWS * columns, outputs += records * ROWS)
    for (Size record = 0, some; record < records; record += some) {
      some = share(records - record, PLACES);
      FOR_PLACES(some, DOT_PRODUCTS, 0)
    }
#undef DOT_PRODUCTS
}

INLINE void input_block(Size columns, Size rows, Size width, const float *weights, const float *slopes,
                        float *gradients, const Size records) {
  for (Size k = 0; k < width; k += WIDTH) {
    Vector weight[ROWS];
    for (Size o = 0; o < ROWS; o++) weight[o] = at(weights + o * columns + k);
    for (Size r = 0; r < records; r++) {
      Vector gradient = at(gradients + r * columns + k);
      for (Size o = 0; o < ROWS; o++) gradient += slopes[r * rows + o] * weight[o];
      put(gradients + r * columns + k, gradient);
    }
  }
}

INLINE void weight_block(Size columns, Size rows, Size width, const float *inputs, const float *slopes,
                         float *totals, const Size records) {
  for (Size k = 0; k < width; k += WIDTH) {
    Vector total[ROWS];
    for (Size o = 0; o < ROWS; o++) total[o] = at(totals + o * columns + k);
    for (Size r = 0; r < records; r++) {
      Vector input = at(inputs + r * columns + k);
      for (Size o = 0; o < ROWS; o++) total[o] += slopes[r * rows + o] * input;
    }
    for (Size o = 0; o < ROWS; o++) put(totals + o * columns + k, total[o]);
  }
}

/* input_gradients += slopes weights, if they are not null, and totals += slopes' inputs, for columns first to last.
 * totals may be the weights: none is changed before it was used. */
EXPORTED void matrix_back(Size records, Size rows, Size columns, Size first, Size last, const float *inputs,
                          const float *weights, const float *slopes, float *input_gradients, float *totals) {
#define BLOCKS(DO)                                                     \
  for (Size record = 0, some; record < records; record += some) {      \
    some = share(records - record, PLACES);                            \
    FOR_PLACES(some, DO, 0)                                            \
  }
#define INPUT_BLOCK(C, R)                                                                      \
  input_block(columns, rows, width, weights + row * columns + k, slopes + record * rows + row, \
              input_gradients + record * columns + k, R)
#define WEIGHT_BLOCK(C, R)                                                                                 \
  weight_block(columns, rows, width, inputs + record * columns + k, slopes + record * rows + row, \
               totals + row * columns + k, R)
  for (Size k = first; k < last; k += BLOCK) {
    Size width = last - k < BLOCK ? last - k : BLOCK;
    for (Size row = 0; row < rows; row += ROWS) {
      if (input_gradients) BLOCKS(INPUT_BLOCK)
      BLOCKS(WEIGHT_BLOCK)
    }
  }
#undef WEIGHT_BLOCK
#undef INPUT_BLOCK
#undef BLOCKS
}
