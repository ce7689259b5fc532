/* Normal values from random bits, and sums brought onto a public grid. */
#include <string.h>

#include "vectors.h"

#define BITS 52

/* -log(1 - word / 2**52), to single precision however small it is, of words below 2**52. */
INLINE Vector exponential(Long words) {
  Vector part = __builtin_convertvector(words, Vector) * 0x1p-52f;
  Vector rest = __builtin_convertvector((1LL << BITS) - words, Vector) * 0x1p-52f;
  /* rest = 2**exponent * factor, factor from sqrt(1/2) to sqrt(2) */
  Whole exponent = ((Whole)rest - 0x3f3504f3) >> 23;
  Vector factor = (Vector)((Whole)rest - (exponent << 23));
  Whole is_small = part < 0.25f;
  Vector above = where(is_small, -part, factor - 1), below = where(is_small, 2 - part, factor + 1);
  Vector s = above / below, q = s * s; /* log((1 + s) / (1 - s)) = 2 (s + s**3 / 3 + s**5 / 5 + ...) */
  Vector series = 2 * s * (1 + q * (1.0f / 3 + q * (1.0f / 5 + q * (1.0f / 7 + q * (1.0f / 9)))));
  Vector powers = __builtin_convertvector(exponent & ~is_small, Vector) * 0.693147180559945f;
  return -(powers + series);
}

/* out [2 * pairs], by Box and Muller's method: a radius from the lower 52 bits of a word, an angle from `turns`. */
EXPORTED void normals(Size pairs, const int64_t *words, const int32_t *turns, float *out) {
  for (Size first = 0; first < pairs; first += WIDTH) {
    Size several = pairs - first < WIDTH ? pairs - first : WIDTH;
    Long word = {0};
    Whole turn = {0};
    memcpy(&word, words + first, several * sizeof(int64_t));
    memcpy(&turn, turns + first, several * sizeof(int32_t));
    Vector radius = root(2 * exponential(word & ((1LL << BITS) - 1)));
    /* The angle is a number of quarter turns and a rest from -pi/4 to pi/4. */
    Whole quarter = ((turn >> 29) + 1) >> 1;
    Whole rest = (Whole)((Unsigned)turn - ((Unsigned)quarter << 30));
    Vector x = __builtin_convertvector(rest, Vector) * 1.46291807926715968e-9f; /* pi / 2**31 */
    Vector q = x * x;
    Vector sine = x * (1 - q * (1.0f / 6 - q * (1.0f / 120 - q * (1.0f / 5040 - q * (1.0f / 362880)))));
    Vector cosine = 1 - q * (0.5f - q * (1.0f / 24 - q * (1.0f / 720 - q * (1.0f / 40320))));
    Whole is_odd = -(quarter & 1);
    Vector along = where(is_odd, sine, cosine), across = where(is_odd, cosine, sine);
    along = where(-(((quarter + 1) >> 1) & 1), -along, along);
    across = where(-((quarter >> 1) & 1), -across, across);
    along *= radius;
    across *= radius;
    memcpy(out + first, &along, several * sizeof(float));
    memcpy(out + pairs + first, &across, several * sizeof(float));
  }
}

/* out = sums + deviation * noise, computed in double precision and rounded to multiples of `grid`. */
EXPORTED void onto_grid(Size count, const float *sums, const float *noise, double deviation, double grid, float *out) {
  double scale = deviation / grid, per_grid = 1 / grid;
  for (Size i = 0; i < count; i++) out[i] = (float)(__builtin_rint(noise[i] * scale + sums[i] * per_grid) * grid);
}
