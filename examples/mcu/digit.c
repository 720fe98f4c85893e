#include "digit.h"

#include "cnn-int8-io8.h" /* written by: mnist-edge export --target mcu */

void digit_input(const unsigned char *pixels, signed char *input) {
  int i;
  for (i = 0; i < CNN_INT8_IO8_INPUT_BYTES; i++) {
    input[i] = (signed char)(pixels[i] + CNN_INT8_IO8_INPUT_ZERO_POINT);
  }
}

int digit_best(const signed char *output) {
  int i, best = 0;
  for (i = 1; i < CNN_INT8_IO8_OUTPUT_CLASSES; i++) {
    if (output[i] > output[best]) best = i;
  }
  return best;
}

float digit_probability(signed char output) {
  return (float)(output - CNN_INT8_IO8_OUTPUT_ZERO_POINT) * CNN_INT8_IO8_OUTPUT_SCALE;
}
