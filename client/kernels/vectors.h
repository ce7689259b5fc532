/* Vectors as wide as the processor's, without a word of its assembler. */
#ifndef FEDLEDGER_VECTORS_H
#define FEDLEDGER_VECTORS_H

#include <stdint.h>

/* WIDTH: numbers in a vector. CHANNELS: with PLACES, sums in hand at once, as many as registers hold. LOW and HIGH:
 * the lower or the upper halves of two vectors, their numbers taken in turn. */
#if defined(__clang__)
#define MIXED(a, b, ...) __builtin_shufflevector(a, b, __VA_ARGS__)
#else
#define MIXED(a, b, ...) __builtin_shuffle(a, b, (Whole){__VA_ARGS__})
#endif
#if defined(__AVX512F__)
#define WIDTH 16
#define CHANNELS 4
#define LOW(a, b) MIXED(a, b, 0, 16, 1, 17, 2, 18, 3, 19, 4, 20, 5, 21, 6, 22, 7, 23)
#define HIGH(a, b) MIXED(a, b, 8, 24, 9, 25, 10, 26, 11, 27, 12, 28, 13, 29, 14, 30, 15, 31)
#elif defined(__AVX__)
#define WIDTH 8
#define CHANNELS 2
#define LOW(a, b) MIXED(a, b, 0, 8, 1, 9, 2, 10, 3, 11)
#define HIGH(a, b) MIXED(a, b, 4, 12, 5, 13, 6, 14, 7, 15)
#else
#define WIDTH 4
#define CHANNELS 4
#define LOW(a, b) MIXED(a, b, 0, 4, 1, 5)
#define HIGH(a, b) MIXED(a, b, 2, 6, 3, 7)
#endif

#define INLINE static inline __attribute__((always_inline))
#define EXPORTED __attribute__((visibility("default")))

typedef int64_t Size;
typedef float Vector __attribute__((vector_size(4 * WIDTH), aligned(4)));
typedef int32_t Whole __attribute__((vector_size(4 * WIDTH), aligned(4)));
typedef uint32_t Unsigned __attribute__((vector_size(4 * WIDTH), aligned(4)));
typedef int64_t Long __attribute__((vector_size(8 * WIDTH), aligned(8)));
typedef double Double __attribute__((vector_size(8 * WIDTH), aligned(8)));

INLINE Vector at(const float *place) { return *(const Vector *)place; }
INLINE void put(float *place, Vector value) { *(Vector *)place = value; }
INLINE Vector all(float value) { return (Vector){0} + value; }

/* A truth is -1 or 0, as comparisons give it. */
INLINE Vector where(Whole truth, Vector yes, Vector no) {
  return (Vector)((truth & (Whole)yes) | (~truth & (Whole)no));
}

INLINE Vector root(Vector value) {
  for (int i = 0; i < WIDTH; i++) value[i] = __builtin_sqrtf(value[i]);
  return value;
}

#define MOST_CHANNELS 4
#define PLACES 6

/* How many of `left` to take next, so that all parts are at most `most` and nearly alike. */
INLINE Size share(Size left, Size most) {
  Size parts = (left + most - 1) / most;
  return (left + parts - 1) / parts;
}

/* Do something with a constant for a number that is at most MOST_CHANNELS or PLACES, so that loops are unrolled. */
#define FOR_CHANNELS(number, DO) \
  switch (number) {              \
    case 1: DO(1) break;         \
    case 2: DO(2) break;         \
    case 3: DO(3) break;         \
    default: DO(4)               \
  }
#define FOR_PLACES(number, DO, CHANNELS) \
  switch (number) {                      \
    case 1: DO(CHANNELS, 1); break;      \
    case 2: DO(CHANNELS, 2); break;      \
    case 3: DO(CHANNELS, 3); break;      \
    case 4: DO(CHANNELS, 4); break;      \
    case 5: DO(CHANNELS, 5); break;      \
    default: DO(CHANNELS, 6);            \
  }

#endif
