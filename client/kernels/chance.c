/* Numbers left out by chance, the same ones again for the same seed: what is drawn need not be kept. */
#include "vectors.h"

/* A word whose bits all depend on all of the last one's. Source: Appleby, MurmurHash3, fmix32. */
INLINE Unsigned mixed(Unsigned word) {
  word = (word ^ word >> 16) * 0x85ebca6bu;
  word = (word ^ word >> 13) * 0xc2b2ae35u;
  return word ^ word >> 16;
}

/* outputs = inputs times `factor`, but 0 for a share of `threshold` / 2**32 of them. For training alone: no key is hidden. */
EXPORTED void leave_out(Size count, Size seed, Size threshold, double factor, const float *inputs, float *outputs) {
  Unsigned low = (Unsigned){0} + (uint32_t)seed, high = (Unsigned){0} + (uint32_t)(seed >> 32), lanes;
  for (Size i = 0; i < WIDTH; i++) lanes[i] = i;
  for (Size first = 0; first < count; first += WIDTH) {
    Unsigned word = mixed(mixed(lanes + (uint32_t)first + low) ^ high);
    Vector kept = where((Whole)(word >= (uint32_t)threshold), all(factor), all(0));
    if (count - first >= WIDTH)
      put(outputs + first, at(inputs + first) * kept);
    else
      for (Size i = 0; i < count - first; i++) outputs[first + i] = inputs[first + i] * kept[i];
  }
}
