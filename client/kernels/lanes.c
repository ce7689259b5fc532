/* Layers of small networks, with the numbers of sixteen records side by side.
 *
 * Images [b, C, H, W] lie in blocks of LANES records, [blocks, C, H, W, LANES], so that one instruction does the same
 * for every record of a block. The gradients of a kernel for each record, which DP-SGD clips one by one, then cost
 * what the gradient of their sum would cost: no record's number is added to another's before its norm is known.
 *
 * All numbers are float32, all tensors contiguous. Nothing is allocated and nothing is kept. What is not finite in a
 * record, or in a lane that holds none, spoils its own lane and no other.
 */
#include <string.h>

#include "vectors.h"

#define REVISION 4
#define LANES 16

#define FEW 32

/* Which of these functions there are, and what they do: raised with every change. */
EXPORTED int revision(void) { return REVISION; }

/* Take rows for columns. Source of the network: Stone 1971, "Parallel Processing with the Perfect Shuffle". */
INLINE void transpose(Vector square[WIDTH]) {
  for (int round = 1; round < WIDTH; round *= 2) {
    Vector mixed[WIDTH];
    for (int i = 0; i < WIDTH / 2; i++) {
      mixed[2 * i] = LOW(square[i], square[i + WIDTH / 2]);
      mixed[2 * i + 1] = HIGH(square[i], square[i + WIDTH / 2]);
    }
    for (int i = 0; i < WIDTH; i++) square[i] = mixed[i];
  }
}

/* rows [records, values] to lanes [blocks, values, LANES]; lanes without a record are zero. */
EXPORTED void into_lanes(Size records, Size values, const float *rows, float *lanes) {
  for (Size first = 0; first < records; first += LANES, lanes += values * LANES)
    for (Size lane = 0; lane < LANES; lane += WIDTH) {
      Size value = 0;
      for (; value + WIDTH <= values; value += WIDTH) {
        Vector square[WIDTH];
        for (Size i = 0; i < WIDTH; i++) {
          Size record = first + lane + i;
          square[i] = record < records ? at(rows + record * values + value) : all(0);
        }
        transpose(square);
        for (Size i = 0; i < WIDTH; i++) put(lanes + (value + i) * LANES + lane, square[i]);
      }
      for (; value < values; value++)
        for (Size i = lane; i < lane + WIDTH; i++)
          lanes[value * LANES + i] = first + i < records ? rows[(first + i) * values + value] : 0;
    }
}

/* The way back. */
EXPORTED void out_of_lanes(Size records, Size values, const float *lanes, float *rows) {
  for (Size first = 0; first < records; first += LANES, lanes += values * LANES)
    for (Size lane = 0; lane < LANES; lane += WIDTH) {
      Size value = 0;
      for (; value + WIDTH <= values; value += WIDTH) {
        Vector square[WIDTH];
        for (Size i = 0; i < WIDTH; i++) square[i] = at(lanes + (value + i) * LANES + lane);
        transpose(square);
        for (Size i = 0; i < WIDTH && first + lane + i < records; i++)
          put(rows + (first + lane + i) * values + value, square[i]);
      }
      for (; value < values; value++)
        for (Size i = lane; i < lane + WIDTH && first + i < records; i++)
          rows[(first + i) * values + value] = lanes[value * LANES + i];
    }
}

/* One value of a kernel: how far its pixel is from the first one's, and its place among its channel's values. */
typedef struct {
  int32_t pixel, value;
} Tap;

/* A part of the results to which the same taps belong, rows x places. All distances are in numbers. */
typedef struct {
  int32_t taps, first_tap, rows, places;
  int32_t image, image_row, image_step, result, result_row, result_step;
} Walk;

/* What all walks over a batch have in common. */
typedef struct {
  Size blocks, walks, channels, image_block, result_block, result_channel, kernel_channel;
} Batch;

INLINE void sums(const Batch *batch, const Walk *walk, const Tap *tap, const float *image, const float *kernel,
                 const float *begin, float *result, const Size channels, const Size places) {
  Vector sum[MOST_CHANNELS][PLACES];
  for (Size c = 0; c < channels; c++)
    for (Size p = 0; p < places; p++) sum[c][p] = all(begin ? begin[c] : 0);
  for (const Tap *end = tap + walk->taps; tap < end; tap++)
    for (Size c = 0; c < channels; c++) {
      float value = kernel[c * batch->kernel_channel + tap->value];
      for (Size p = 0; p < places; p++) sum[c][p] += value * at(image + tap->pixel + p * walk->image_step);
    }
  for (Size c = 0; c < channels; c++)
    for (Size p = 0; p < places; p++) put(result + c * batch->result_channel + p * walk->result_step, sum[c][p]);
}

/* results = begin + kernels over images: a convolution, or the gradient of its images. `begin` may be null. */
EXPORTED void correlate(const Batch *batch, const Walk *walks, const Tap *taps, const float *images,
                        const float *kernels, const float *begin, float *results) {
#define SUMS(C, P)                                                                                          \
  sums(batch, walk, taps + walk->first_tap, image + place * walk->image_step,                               \
       kernels + channel * batch->kernel_channel, begin ? begin + channel : 0,                              \
       result + channel * batch->result_channel + place * walk->result_step, C, P)
#define ALONG_ROW(C)                                                                                        \
  for (Size place = 0, several; place < walk->places; place += several) {                                   \
    several = share(walk->places - place, PLACES);                                                          \
    FOR_PLACES(several, SUMS, C)                                                                            \
  }
  for (Size block = 0; block < batch->blocks; block++)
    for (const Walk *walk = walks; walk < walks + batch->walks; walk++)
      for (Size row = 0; row < walk->rows; row++)
        for (Size lane = 0; lane < LANES; lane += WIDTH) {
          const float *image = images + block * batch->image_block + walk->image + row * walk->image_row + lane;
          float *result = results + block * batch->result_block + walk->result + row * walk->result_row + lane;
          for (Size channel = 0, some; channel < batch->channels; channel += some) {
            some = share(batch->channels - channel, CHANNELS);
            FOR_CHANNELS(some, ALONG_ROW)
          }
        }
#undef ALONG_ROW
#undef SUMS
}

INLINE void products(const Batch *batch, const Walk *walk, const Tap *taps, const float *image,
                     const float *backprop, float *gradient, const Size channels, const Size values) {
  Vector sum[MOST_CHANNELS][PLACES];
  for (Size c = 0; c < channels; c++)
    for (Size v = 0; v < values; v++) sum[c][v] = at(gradient + (c * batch->kernel_channel + taps[v].value) * LANES);
  for (Size row = 0; row < walk->rows; row++) {
    const float *from = image + row * walk->image_row, *back = backprop + row * walk->result_row;
    for (Size place = 0; place < walk->places; place++, from += walk->image_step, back += walk->result_step)
      for (Size c = 0; c < channels; c++) {
        Vector slope = at(back + c * batch->result_channel);
        for (Size v = 0; v < values; v++) sum[c][v] += slope * at(from + taps[v].pixel);
      }
  }
  for (Size c = 0; c < channels; c++)
    for (Size v = 0; v < values; v++) put(gradient + (c * batch->kernel_channel + taps[v].value) * LANES, sum[c][v]);
}

/* gradients [blocks, channels, values, LANES]: those of the kernels of `correlate` from its results'. */
EXPORTED void kernel_gradients(const Batch *batch, const Walk *walks, const Tap *taps, const float *images,
                               const float *backprops, float *gradients) {
#define PRODUCTS(C, V)                                                                                      \
  products(batch, walk, taps + walk->first_tap + tap, image, backprop + channel * batch->result_channel,    \
           gradient + channel * batch->kernel_channel * LANES, C, V)
#define ALONG_TAPS(C)                                                                                       \
  for (Size tap = 0, several; tap < walk->taps; tap += several) {                                           \
    several = share(walk->taps - tap, PLACES);                                                              \
    FOR_PLACES(several, PRODUCTS, C)                                                                        \
  }
  Size values = batch->channels * batch->kernel_channel;
  for (Size block = 0; block < batch->blocks; block++) {
    memset(gradients + block * values * LANES, 0, sizeof(float) * values * LANES);
    for (Size lane = 0; lane < LANES; lane += WIDTH)
      for (const Walk *walk = walks; walk < walks + batch->walks; walk++) {
        const float *image = images + block * batch->image_block + walk->image + lane;
        const float *backprop = backprops + block * batch->result_block + walk->result + lane;
        float *gradient = gradients + block * values * LANES + lane;
        for (Size channel = 0, some; channel < batch->channels; channel += some) {
          some = share(batch->channels - channel, CHANNELS);
          FOR_CHANNELS(some, ALONG_TAPS)
        }
      }
  }
#undef ALONG_TAPS
#undef PRODUCTS
}

/* sums [planes, LANES] of images [planes, pixels, LANES]. */
EXPORTED void plane_sums(Size planes, Size pixels, const float *images, float *sums) {
  for (Size plane = 0; plane < planes; plane++, images += pixels * LANES, sums += LANES)
    for (Size lane = 0; lane < LANES; lane += WIDTH) {
      Vector sum[2] = {all(0), all(0)};
      for (Size pixel = 0; pixel < pixels; pixel++) sum[pixel & 1] += at(images + pixel * LANES + lane);
      put(sums + lane, sum[0] + sum[1]);
    }
}

/* squares [blocks, LANES]: the sum of the squares of each record's values [blocks, values, LANES]. What is clipped by
 * it must not have a larger norm: few values are added in single precision before double takes over. */
EXPORTED void squares(Size blocks, Size values, const float *gradients, float *squares) {
  for (Size block = 0; block < blocks; block++, gradients += values * LANES, squares += LANES)
    for (Size lane = 0; lane < LANES; lane += WIDTH) {
      Double total = {0};
      for (Size first = 0; first < values; first += FEW) {
        Size several = values - first < FEW ? values - first : FEW;
        Vector sum[4] = {all(0), all(0), all(0), all(0)};
        for (Size i = 0; i < several; i++) {
          Vector each = at(gradients + (first + i) * LANES + lane);
          sum[i & 3] += each * each;
        }
        total += __builtin_convertvector((sum[0] + sum[1]) + (sum[2] + sum[3]), Double);
      }
      put(squares + lane, __builtin_convertvector(total, Vector));
    }
}

/* totals [values]: the sum over records of factor [blocks, LANES] times values [blocks, values, LANES]. A factor of zero
 * leaves a lane out, whatever is in it. */
EXPORTED void weighted_sum(Size blocks, Size values, const float *gradients, const float *factors, float *totals) {
  for (Size value = 0; value < values; value += WIDTH) {
    Size several = values - value < WIDTH ? values - value : WIDTH;
    Vector square[WIDTH];
    for (Size i = 0; i < WIDTH; i++) square[i] = all(0);
    for (Size block = 0; block < blocks; block++)
      for (Size lane = 0; lane < LANES; lane += WIDTH) {
        Vector factor = at(factors + block * LANES + lane);
        const float *from = gradients + (block * values + value) * LANES + lane;
        for (Size i = 0; i < several; i++)
          square[i] += where(factor == 0, all(0), factor * at(from + i * LANES));
      }
    transpose(square);
    Vector total = square[0];
    for (Size i = 1; i < WIDTH; i++) total += square[i];
    for (Size i = 0; i < several; i++) totals[value + i] = total[i];
  }
}

/* results = max(0, images); what is no number stays. */
EXPORTED void rectify(Size blocks, Size values, const float *images, float *results) {
  for (Size i = 0; i < blocks * values * LANES; i += WIDTH) {
    Vector value = at(images + i);
    put(results + i, where(value < 0, all(0), value));
  }
}

/* The gradients of the images, from the results and theirs. */
EXPORTED void rectify_back(Size blocks, Size values, const float *results, const float *backprops, float *gradients) {
  for (Size i = 0; i < blocks * values * LANES; i += WIDTH)
    put(gradients + i, where(at(results + i) > 0, at(backprops + i), all(0)));
}

/* exp(x) of x from -20 to 20, and tanh: Moshier 1992, "Cephes Mathematical Library", expf and tanhf. */
INLINE Vector exponential(Vector x) {
  Vector power = x * 1.44269504088896341f + 0x1.8p23f; /* rounds to a whole number */
  Whole whole = (Whole)power - 0x4b400000;
  power -= 0x1.8p23f;
  x -= power * 0.693359375f;
  x -= power * -2.12194440e-4f;
  Vector series = 1.9875691500e-4f * x + 1.3981999507e-3f;
  series = series * x + 8.3334519073e-3f;
  series = series * x + 4.1665795894e-2f;
  series = series * x + 1.6666665459e-1f;
  series = series * x + 5.0000001201e-1f;
  series = series * x * x + x + 1;
  return series * (Vector)((whole + 127) << 23);
}

INLINE Vector tangent(Vector x) {
  Vector size = where(x < 0, -x, x), q = x * x;
  Vector near = -5.70498872745e-3f * q + 2.06390887954e-2f;
  near = near * q - 5.37397155531e-2f;
  near = near * q + 1.33314422036e-1f;
  near = near * q - 3.33332819422e-1f;
  near = near * q * x + x;
  Vector far = 1 - 2 / (exponential(2 * where(size > 9.5f, all(9.5f), size)) + 1);
  return where(size < 0.625f, near, where(x < 0, -far, far));
}

/* results = tanh(images) */
EXPORTED void hyperbolic(Size blocks, Size values, const float *images, float *results) {
  for (Size i = 0; i < blocks * values * LANES; i += WIDTH) put(results + i, tangent(at(images + i)));
}

/* The gradients of the images, from the results and theirs. */
EXPORTED void hyperbolic_back(Size blocks, Size values, const float *results, const float *backprops,
                              float *gradients) {
  for (Size i = 0; i < blocks * values * LANES; i += WIDTH) {
    Vector result = at(results + i);
    put(gradients + i, at(backprops + i) * (1 - result * result));
  }
}

/* Windows of rows x columns pixels, `down` and `right` apart, on planes of height x width; their largest values are
 * taken as they are or, if `rectified`, at least as zero. */
typedef struct {
  Size planes, height, width, rows, columns, down, right, result_height, result_width, rectified;
} Windows;

/* results: the largest value of each window; what is no number is larger than all. */
EXPORTED void largest(const Windows *w, const float *images, float *results) {
  for (Size plane = 0; plane < w->planes; plane++, images += w->height * w->width * LANES)
    for (Size y = 0; y < w->result_height; y++)
      for (Size x = 0; x < w->result_width; x++, results += LANES)
        for (Size lane = 0; lane < LANES; lane += WIDTH) {
          const float *corner = images + (y * w->down * w->width + x * w->right) * LANES + lane;
          Vector most = w->rectified ? all(0) : at(corner);
          for (Size row = 0; row < w->rows; row++)
            for (Size column = 0; column < w->columns; column++) {
              Vector value = at(corner + (row * w->width + column) * LANES);
              most = where((value > most) | (value != value), value, most);
            }
          put(results + lane, most);
        }
}

/* gradients of the images: each window's goes to the first of its largest values, if they were taken as they are. */
EXPORTED void largest_back(const Windows *w, const float *images, const float *results, const float *backprops,
                           float *gradients) {
  Size pixels = w->height * w->width * LANES;
  for (Size plane = 0; plane < w->planes; plane++, images += pixels, gradients += pixels) {
    memset(gradients, 0, sizeof(float) * pixels);
    for (Size y = 0; y < w->result_height; y++)
      for (Size x = 0; x < w->result_width; x++, results += LANES, backprops += LANES)
        for (Size lane = 0; lane < LANES; lane += WIDTH) {
          Size corner = (y * w->down * w->width + x * w->right) * LANES + lane;
          Vector most = at(results + lane), slope = at(backprops + lane);
          if (w->rectified) slope = where(most > 0, slope, all(0));
          for (Size row = 0; row < w->rows; row++)
            for (Size column = 0; column < w->columns; column++) {
              Size place = corner + (row * w->width + column) * LANES;
              Whole here = at(images + place) == most;
              put(gradients + place, at(gradients + place) + where(here, slope, all(0)));
              slope = where(here, all(0), slope);
            }
        }
  }
}

/* Groups of `channels` channels of `pixels` pixels each; `groups` counts those of all blocks. */
typedef struct {
  Size groups, groups_of_record, channels, pixels;
  float tiny;
} Groups;

/* normed: each record's group with mean 0 and variance 1; results: scaled and shifted channel by channel.
 * scales [groups, LANES]: what the group was multiplied by. `weight` may be null, and `results` then too. */
EXPORTED void group_norm(const Groups *g, const float *images, const float *weight, const float *bias, float *normed,
                         float *scales, float *results) {
  Size values = g->channels * g->pixels;
  for (Size group = 0; group < g->groups; group++, images += values * LANES, normed += values * LANES)
    for (Size lane = 0; lane < LANES; lane += WIDTH) {
      Vector mean = all(0), drift = all(0), variance = all(0);
      for (Size c = 0; c < g->channels; c++) {
        Vector sum = all(0);
        for (Size pixel = 0; pixel < g->pixels; pixel++) sum += at(images + (c * g->pixels + pixel) * LANES + lane);
        mean += sum;
      }
      mean /= all(values);
      for (Size c = 0; c < g->channels; c++) { /* what rounding left in the mean is taken out of both moments */
        Vector sum = all(0), square = all(0);
        for (Size pixel = 0; pixel < g->pixels; pixel++) {
          Vector off = at(images + (c * g->pixels + pixel) * LANES + lane) - mean;
          sum += off;
          square += off * off;
        }
        drift += sum;
        variance += square;
      }
      drift /= all(values);
      mean += drift;
      variance = variance / all(values) - drift * drift;
      variance = where(variance < 0, all(0), variance);
      Vector scale = all(1) / root(variance + all(g->tiny));
      put(scales + group * LANES + lane, scale);
      Size channel = group % g->groups_of_record * g->channels;
      for (Size value = 0; value < values; value++) {
        Size place = value * LANES + lane;
        Vector norm = (at(images + place) - mean) * scale;
        put(normed + place, norm);
        if (weight) {
          Size c = channel + value / g->pixels;
          put(results + group * values * LANES + place, norm * weight[c] + bias[c]);
        }
      }
    }
}

/* The gradients of the images, and of weight and bias for each record, [groups * channels, LANES]. */
EXPORTED void group_norm_back(const Groups *g, const float *normed, const float *scales, const float *weight,
                              const float *backprops, float *gradients, float *of_weight, float *of_bias) {
  Size values = g->channels * g->pixels;
  for (Size group = 0; group < g->groups; group++) {
    Size channel = group % g->groups_of_record * g->channels, start = group * values * LANES;
    for (Size lane = 0; lane < LANES; lane += WIDTH) {
      Vector mean = all(0), along = all(0);
      for (Size c = 0; c < g->channels; c++) {
        Vector shift = all(0), stretch = all(0);
        for (Size pixel = 0; pixel < g->pixels; pixel++) {
          Size place = start + (c * g->pixels + pixel) * LANES + lane;
          Vector slope = at(backprops + place);
          shift += slope;
          stretch += slope * at(normed + place);
        }
        if (weight) {
          put(of_weight + (group * g->channels + c) * LANES + lane, stretch);
          put(of_bias + (group * g->channels + c) * LANES + lane, shift);
        }
        float factor = weight ? weight[channel + c] : 1;
        mean += factor * shift;
        along += factor * stretch;
      }
      mean /= all(values);
      along /= all(values);
      Vector scale = at(scales + group * LANES + lane);
      for (Size value = 0; value < values; value++) {
        Size place = start + value * LANES + lane;
        Vector slope = at(backprops + place) * (weight ? weight[channel + value / g->pixels] : 1);
        put(gradients + place, scale * (slope - mean - at(normed + place) * along));
      }
    }
  }
}
