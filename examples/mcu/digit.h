/* What stands between a picture, the network and a digit; none of it needs a library. */
#ifndef DIGIT_H
#define DIGIT_H

#ifdef __cplusplus
extern "C" {
#endif

/* Turn 784 pixels (row by row, 0 black to 255 white) into what the network's input tensor takes. */
void digit_input(const unsigned char *pixels, signed char *input);

/* Give the index of the largest of the network's outputs. */
int digit_best(const signed char *output);

/* Give an output as a probability. */
float digit_probability(signed char output);

#ifdef __cplusplus
}
#endif

#endif
