/* A convolution, max(0, x) and the largest of every four, with channels last in memory.
 *
 * Images [b, H, W, C], kernels [O, rows, columns, C], results [b, H', W', O], and of every square of four of these one
 * in pooled [b, H' / 2, W' / 2, O]. On the way back the gradients of the three others are zero, and of those below
 * zero: only what is left meets images and kernels, and what a row of a kernel meets lies in a row.
 *
 * All numbers are float32, all tensors contiguous. C and O are multiples of WIDTH. Nothing is allocated or kept.
 */
#include <string.h>

#include "pooled.h"

#define VECTORS 6

/* A gradient, and where begins what it meets. */
typedef struct {
  int32_t place;
  float slope;
} Entry;

/* pooled and which of the four: 0 to 3, NOWHERE where none is above zero. What is no number is above all. */
EXPORTED void pool_of_four(const Pooled *p, const float *results, float *pooled, int32_t *which) {
  Size outputs = p->outputs, row = p->result_width * outputs;
  for (Size record = 0; record < p->records; record++, results += p->result_height * row)
    for (Size y = 0; y + 1 < p->result_height; y += 2)
      for (Size x = 0; x + 1 < p->result_width; x += 2)
        for (Size o = 0; o < outputs; o += WIDTH, pooled += WIDTH, which += WIDTH) {
          const float *first = results + y * row + x * outputs + o;
          Vector four[NOWHERE] = {at(first), at(first + outputs), at(first + row), at(first + row + outputs)};
          put(pooled, largest_of_four(four, (Whole *)which));
        }
}

/* What of some rows of pooled gradients is not zero: by the place of its result, [squares, 4, O], to meet the kernel of
 * its output; and by its output, [O, squares], to meet the image. How many there are is in counts [squares, 4], [O]. */
typedef struct {
  Entry *by_place, *by_output;
  int32_t *at_place, *of_output;
} Sorted;

INLINE void sort(const Pooled *p, Size rows, const float *slopes, const int32_t *which, Sorted to) {
  Size kernel = p->rows * p->columns * p->channels, most = p->band * (p->result_width / 2), square = 0;
  Size right = p->right * p->channels, down = p->down * p->width * p->channels;
  memset(to.of_output, 0, sizeof(int32_t) * p->outputs);
  for (Size y = 0; y < rows; y++)
    for (Size x = 0; x < p->result_width / 2; x++, square++, slopes += p->outputs, which += p->outputs) {
      int32_t corner = 2 * y * down + 2 * x * right;
      int32_t place[NOWHERE + 1] = {corner, corner + right, corner + down, corner + down + right, 0};
      int32_t count[NOWHERE + 1] = {0};
      Entry *at_square = to.by_place + square * NOWHERE * p->outputs;
      for (Size o = 0; o < p->outputs; o += WIDTH) {
        Vector slope = at(slopes + o);
        Whole spot = *(const Whole *)(which + o);
        spot = (spot & ~(slope == 0)) | ((slope == 0) & NOWHERE);
        for (Size k = 0; k < WIDTH; k++) {
          Size i = spot[k];
          at_square[i * p->outputs + count[i]++] = (Entry){(o + k) * kernel, slope[k]};
          to.by_output[(o + k) * most + to.of_output[o + k]] = (Entry){place[i], slope[k]};
          to.of_output[o + k] += i != NOWHERE;
        }
      }
      memcpy(to.at_place + square * NOWHERE, count, sizeof(int32_t) * NOWHERE);
    }
}

INLINE void add_products(const Entry *entry, Size count, const float *from, float *to, const Size vectors) {
  Vector sum[VECTORS];
  for (Size v = 0; v < vectors; v++) sum[v] = at(to + v * WIDTH);
  for (const Entry *end = entry + count; entry < end; entry++)
    for (Size v = 0; v < vectors; v++) sum[v] += entry->slope * at(from + entry->place + v * WIDTH);
  for (Size v = 0; v < vectors; v++) put(to + v * WIDTH, sum[v]);
}

/* Do something for so many vectors of a kernel's row as registers hold, one after another. */
#define ALONG_ROW(DO)                                     \
  for (Size v = 0, some; v < run; v += some * WIDTH) {    \
    Size left = (run - v) / WIDTH;                        \
    some = left < VECTORS ? left : VECTORS;               \
    switch (some) {                                       \
      case 1: DO(1) break;                                \
      case 2: DO(2) break;                                \
      case 3: DO(3) break;                                \
      case 4: DO(4) break;                                \
      case 5: DO(5) break;                                \
      default: DO(6)                                      \
    }                                                     \
  }

INLINE void meet_images(const Pooled *p, const float *image, Sorted sorted, float *gradients, float *of_begin) {
  Size run = p->columns * p->channels, row = p->width * p->channels, most = p->band * (p->result_width / 2);
#define DO(VECTORS) \
  add_products(sorted.by_output + o * most, sorted.of_output[o], image + y * row + v, gradients + y * run + v, VECTORS);
  for (Size o = 0; o < p->outputs; o++, gradients += p->rows * run) {
    for (Size i = 0; i < sorted.of_output[o]; i++) of_begin[o] += sorted.by_output[o * most + i].slope;
    for (Size y = 0; y < p->rows; y++) ALONG_ROW(DO)
  }
#undef DO
}

INLINE void meet_kernels(const Pooled *p, Size rows, const float *kernels, Sorted sorted, float *gradients) {
  Size run = p->columns * p->channels, row = p->width * p->channels, squares = p->result_width / 2;
#define DO(VECTORS)                                                                                              \
  for (Size square = 0; square < rows * squares; square++)                                                       \
    for (Size i = 0; i < NOWHERE; i++) {                                                                         \
      Size down = (square / squares * 2 + i / 2) * p->down + y, right = (square % squares * 2 + i % 2) * p->right; \
      add_products(sorted.by_place + (square * NOWHERE + i) * p->outputs, sorted.at_place[square * NOWHERE + i], \
                   kernels + y * run + v, gradients + down * row + right * p->channels + v, VECTORS);            \
    }
  for (Size y = 0; y < p->rows; y++) ALONG_ROW(DO)
#undef DO
}

/* From the gradients of what was pooled, those of images, of the records' kernels and of what their sums begin with,
 * [O], are added to what is there; the first may be null. There is room for 5 * (band * W' / 2 + 1) * O entries and
 * 4 * band * W' / 2 + O counts. */
EXPORTED void pooled_back(const Pooled *p, const float *images, const float *kernels, const float *slopes,
                          const int32_t *which, float *image_gradients, float *kernel_gradients,
                          float *begin_gradients, Entry *entries, int32_t *counts) {
  Size image = p->height * p->width * p->channels, row = p->result_width / 2 * p->outputs;
  Size squares = p->band * (p->result_width / 2);
  Entry *by_output = entries + NOWHERE * squares * p->outputs + 5 * p->outputs;
  Sorted sorted = {entries, by_output, counts, counts + NOWHERE * squares};
  for (Size record = 0; record < p->records; record++) {
    for (Size y = 0, rows; y < p->result_height / 2; y += rows) {
      rows = p->result_height / 2 - y < p->band ? p->result_height / 2 - y : p->band;
      Size top = 2 * y * p->down * p->width * p->channels;
      sort(p, rows, slopes + y * row, which + y * row, sorted);
      meet_images(p, images + top, sorted, kernel_gradients, begin_gradients);
      if (image_gradients) meet_kernels(p, rows, kernels, sorted, image_gradients + top);
    }
    images += image, slopes += p->result_height / 2 * row, which += p->result_height / 2 * row;
    if (image_gradients) image_gradients += image;
  }
}
