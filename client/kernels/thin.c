/* A convolution of few channels, and max(0, x): the first layer of a network of images.
 *
 * Images [b, C, H, W], kernels [taps, O] of C * rows * columns taps, results [b, H', W', O]. All numbers are float32, all
 * tensors contiguous. O is a multiple of WIDTH, strides are one. Nothing is allocated and nothing is kept.
 */
#include "vectors.h"

/* places [taps]: how far from a result's first pixel each tap's lies. */
typedef struct {
  Size records, image, width, result_height, result_width, outputs, taps;
  const int32_t *places;
} Thin;

INLINE void results_of(const Thin *p, const float *image, const float *kernels, const float *bias, float *results,
                       const Size vectors, const Size pixels) {
  Vector sum[PLACES][MOST_CHANNELS];
  for (Size v = 0; v < vectors; v++) {
    Vector begin = bias ? at(bias + v * WIDTH) : all(0);
    for (Size x = 0; x < pixels; x++) sum[x][v] = begin;
  }
  for (Size tap = 0; tap < p->taps; tap++, kernels += p->outputs) {
    const float *pixel = image + p->places[tap];
    for (Size v = 0; v < vectors; v++) {
      Vector kernel = at(kernels + v * WIDTH);
      for (Size x = 0; x < pixels; x++) sum[x][v] += pixel[x] * kernel;
    }
  }
  for (Size x = 0; x < pixels; x++)
    for (Size v = 0; v < vectors; v++)
      put(results + x * p->outputs + v * WIDTH, where(sum[x][v] <= 0, all(0), sum[x][v]));
}

/* The results of images, those below zero as zero; bias [O] may be null. What is no number stays so. */
EXPORTED void thin_forward(const Thin *p, const float *images, const float *kernels, const float *bias,
                           float *results) {
#define RESULTS(V, X) results_of(p, row + x, kernels + o, bias ? bias + o : bias, to + x * p->outputs + o, V, X)
#define ALONG_PIXELS(V)                                             \
  for (Size x = 0, some; x < p->result_width; x += some) {          \
    some = share(p->result_width - x, PLACES);                      \
    FOR_PLACES(some, RESULTS, V)                                    \
  }
  for (Size record = 0; record < p->records; record++, images += p->image)
    for (Size y = 0; y < p->result_height; y++) {
      const float *row = images + y * p->width;
      float *to = results + (record * p->result_height + y) * p->result_width * p->outputs;
      for (Size o = 0, several; o < p->outputs; o += several * WIDTH) {
        several = share((p->outputs - o) / WIDTH, CHANNELS);
        FOR_CHANNELS(several, ALONG_PIXELS)
      }
    }
#undef ALONG_PIXELS
#undef RESULTS
}

INLINE void taps_of(const Thin *p, const float *image, const float *results, const float *slopes,
                    const int32_t *places, float *gradients, const Size vectors, const Size taps) {
  Vector sum[PLACES][MOST_CHANNELS];
  for (Size tap = 0; tap < taps; tap++)
    for (Size v = 0; v < vectors; v++) sum[tap][v] = at(gradients + tap * p->outputs + v * WIDTH);
  for (Size y = 0; y < p->result_height; y++)
    for (Size x = 0; x < p->result_width; x++, results += p->outputs, slopes += p->outputs) {
      const float *pixel = image + y * p->width + x;
      for (Size v = 0; v < vectors; v++) {
        Vector slope = where(at(results + v * WIDTH) <= 0, all(0), at(slopes + v * WIDTH));
        for (Size tap = 0; tap < taps; tap++) sum[tap][v] += pixel[places[tap]] * slope;
      }
    }
  for (Size tap = 0; tap < taps; tap++)
    for (Size v = 0; v < vectors; v++) put(gradients + tap * p->outputs + v * WIDTH, sum[tap][v]);
}

INLINE void biases_of(const Thin *p, const float *results, const float *slopes, float *gradients) {
  for (Size o = 0; o < p->outputs; o += WIDTH) {
    Vector sum = at(gradients + o);
    for (Size pixel = 0; pixel < p->result_height * p->result_width; pixel++)
      sum += where(at(results + pixel * p->outputs + o) <= 0, all(0), at(slopes + pixel * p->outputs + o));
    put(gradients + o, sum);
  }
}

/* From the gradients of results, those of the records' kernels [taps, O] and biases [O] are added to what is there. */
EXPORTED void thin_back(const Thin *p, const float *images, const float *results, const float *slopes,
                        float *kernel_gradients, float *bias_gradients) {
#define TAPS(V, T)                                                                                        \
  taps_of(p, images, results + o, slopes + o, p->places + tap, kernel_gradients + tap * p->outputs + o, V, T)
#define ALONG_TAPS(V)                                    \
  for (Size tap = 0, some; tap < p->taps; tap += some) { \
    some = share(p->taps - tap, PLACES);                 \
    FOR_PLACES(some, TAPS, V)                            \
  }
  Size result = p->result_height * p->result_width * p->outputs;
  for (Size record = 0; record < p->records; record++, images += p->image, results += result, slopes += result) {
    for (Size o = 0, several; o < p->outputs; o += several * WIDTH) {
      several = share((p->outputs - o) / WIDTH, CHANNELS);
      FOR_CHANNELS(several, ALONG_TAPS)
    }
    biases_of(p, results, slopes, bias_gradients);
  }
#undef ALONG_TAPS
#undef TAPS
}
