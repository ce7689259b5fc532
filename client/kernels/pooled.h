/* A convolution whose results are pooled by fours. */
#ifndef FEDLEDGER_POOLED_H
#define FEDLEDGER_POOLED_H

#include "vectors.h"

#define NOWHERE 4

/* `band`: rows of pooled results that are sorted at a time. */
typedef struct {
  Size records, height, width, channels, result_height, result_width, outputs, rows, columns, down, right, band;
} Pooled;

/* The largest of four vectors, and which; zero and NOWHERE where none is above zero. What is no number is above all. */
INLINE Vector largest_of_four(const Vector four[NOWHERE], Whole *which) {
  Vector best = all(0);
  *which = (Whole){0} + NOWHERE;
  for (int i = 0; i < NOWHERE; i++) {
    Whole above = (four[i] > best) | (four[i] != four[i]);
    best = where(above, four[i], best);
    *which = (above & i) | (~above & *which);
  }
  return best;
}

#endif
