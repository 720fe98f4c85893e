// One convolution with BatchNormalization and ReLU, and its gradients.
#pragma once

#include <type_traits>
#include <vector>

#include "lanes.h"

constexpr float MOMENTUM = 0.95f, NORM_EPSILON = 1e-3f, BETA1 = 0.9f, BETA2 = 0.999f, ADAM_EPSILON = 1e-7f;

struct Weights {
    std::vector<float> value, gradient, first, second;
    bool decays;

    void resize(size_t count, bool decaying, float start = 0) {
        value.assign(count, start), decays = decaying;
        gradient.assign(count, 0), first = second = gradient;
    }
    void draw(Random &random, float most) {  // Glorot's uniform distribution
        for (float &weight : value) weight = random.between(most);
    }
    void step(float rate, float corrected, float decay) {  // AdamW, as Keras computes it
        for (size_t i = 0; i < value.size(); i++) {
            if (decays) value[i] -= value[i] * decay * rate;
            first[i] += (gradient[i] - first[i]) * (1 - BETA1);
            second[i] += (gradient[i] * gradient[i] - second[i]) * (1 - BETA2);
            value[i] -= first[i] * corrected / (std::sqrt(second[i]) + ADAM_EPSILON);
        }
    }
};

struct Layer {  // a convolution, BatchNormalization and ReLU
    int inputs, filters, kernel, stride, in_side, out_side, before;
    Weights weights, gamma, beta;
    std::vector<float> moving_mean, moving_variance, mean, deviation;
    Values convolved, output, output_gradient, convolved_gradient;

    size_t positions() const { return size_t(out_side) * out_side * VECTORS; }
    size_t at(int channel, int side, int row, int column) const {
        return (size_t(channel * side + row) * side + column) * VECTORS;
    }
    int weight(int filter, int input, int row, int column) const {
        return ((filter * inputs + input) * kernel + row) * kernel + column;
    }
};

// Each of the three functions below computes N channels at once, with their sums in registers.

template <int N>
void convolve(const Lanes *in, Layer &layer, int filter) {
    for (int row = 0; row < layer.out_side; row++)
        for (int column = 0; column < layer.out_side; column++)
            for (int part = 0; part < VECTORS; part += 4) {
                Lanes sums[N][4] = {};
                for (int y = 0; y < layer.kernel; y++)
                    for (int x = 0; x < layer.kernel; x++) {
                        int from_row = row * layer.stride + y - layer.before;
                        int from_column = column * layer.stride + x - layer.before;
                        if (std::min(from_row, from_column) < 0 || std::max(from_row, from_column) >= layer.in_side)
                            continue;
                        for (int input = 0; input < layer.inputs; input++) {
                            const Lanes *from = in + layer.at(input, layer.in_side, from_row, from_column) + part;
                            for (int n = 0; n < N; n++) {
                                Lanes weight = all(layer.weights.value[layer.weight(filter + n, input, y, x)]);
                                for (int i = 0; i < 4; i++) sums[n][i] += weight * from[i];
                            }
                        }
                    }
                for (int n = 0; n < N; n++)
                    std::copy(sums[n], sums[n] + 4,
                              layer.convolved.data + layer.at(filter + n, layer.out_side, row, column) + part);
            }
}

template <int N>
void gradient_of_inputs(Lanes *gradient, const Layer &layer, int input) {
    for (int row = 0; row < layer.in_side; row++)
        for (int column = 0; column < layer.in_side; column++)
            for (int part = 0; part < VECTORS; part += 4) {
                Lanes sums[N][4] = {};
                for (int y = 0; y < layer.kernel; y++)
                    for (int x = 0; x < layer.kernel; x++) {
                        int to_row = row + layer.before - y, to_column = column + layer.before - x;
                        if (std::min(to_row, to_column) < 0 || to_row % layer.stride || to_column % layer.stride)
                            continue;
                        to_row /= layer.stride, to_column /= layer.stride;
                        if (std::max(to_row, to_column) >= layer.out_side) continue;
                        for (int filter = 0; filter < layer.filters; filter++) {
                            const Lanes *from = layer.convolved_gradient.data +
                                                layer.at(filter, layer.out_side, to_row, to_column) + part;
                            for (int n = 0; n < N; n++) {
                                Lanes weight = all(layer.weights.value[layer.weight(filter, input + n, y, x)]);
                                for (int i = 0; i < 4; i++) sums[n][i] += weight * from[i];
                            }
                        }
                    }
                for (int n = 0; n < N; n++)
                    std::copy(sums[n], sums[n] + 4, gradient + layer.at(input + n, layer.in_side, row, column) + part);
            }
}

template <int N, int M>
void gradient_of_weights(const Lanes *in, Layer &layer, int filter, int input) {
    for (int y = 0; y < layer.kernel; y++)
        for (int x = 0; x < layer.kernel; x++) {
            Lanes sums[N][M] = {};
            for (int row = 0; row < layer.out_side; row++)
                for (int column = 0; column < layer.out_side; column++) {
                    int from_row = row * layer.stride + y - layer.before;
                    int from_column = column * layer.stride + x - layer.before;
                    if (std::min(from_row, from_column) < 0 || std::max(from_row, from_column) >= layer.in_side)
                        continue;
                    for (int part = 0; part < VECTORS; part++) {
                        Lanes out[N];
                        for (int n = 0; n < N; n++)
                            out[n] = layer.convolved_gradient
                                         .data[layer.at(filter + n, layer.out_side, row, column) + part];
                        for (int m = 0; m < M; m++) {
                            Lanes from = in[layer.at(input + m, layer.in_side, from_row, from_column) + part];
                            for (int n = 0; n < N; n++) sums[n][m] += out[n] * from;
                        }
                    }
                }
            for (int n = 0; n < N; n++)
                for (int m = 0; m < M; m++)
                    layer.weights.gradient[layer.weight(filter + n, input + m, y, x)] = sum(sums[n][m]);
        }
}

// Call `work` with channels in fours and what is left, as numbers that the compiler knows.
template <class Work>
void in_fours(int channels, Work work) {
    int first = 0;
    for (; first + 4 <= channels; first += 4) work(std::integral_constant<int, 4>(), first);
    if (channels - first == 3) work(std::integral_constant<int, 3>(), first);
    if (channels - first == 2) work(std::integral_constant<int, 2>(), first);
    if (channels - first == 1) work(std::integral_constant<int, 1>(), first);
}

void normalize(Layer &layer, bool training) {
    size_t count = layer.positions();
    for (int channel = 0; channel < layer.filters; channel++) {
        Lanes *in = layer.convolved.data + channel * count, *out = layer.output.data + channel * count;
        float mean = layer.moving_mean[channel], variance = layer.moving_variance[channel];
        if (training) {
            Lanes total = ZERO, squares = ZERO;
            for (size_t i = 0; i < count; i++) total += in[i];
            mean = sum(total) / (count * 16);
            for (size_t i = 0; i < count; i++) squares += (in[i] - mean) * (in[i] - mean);
            variance = sum(squares) / (count * 16);
            layer.moving_mean[channel] += (1 - MOMENTUM) * (mean - layer.moving_mean[channel]);
            layer.moving_variance[channel] += (1 - MOMENTUM) * (variance - layer.moving_variance[channel]);
        }
        layer.mean[channel] = mean, layer.deviation[channel] = std::sqrt(variance + NORM_EPSILON);
        float factor = layer.gamma.value[channel] / layer.deviation[channel];
        float offset = layer.beta.value[channel] - mean * factor;
        for (size_t i = 0; i < count; i++) {
            Lanes value = in[i] * factor + offset;
            out[i] = value > ZERO ? value : ZERO;
        }
    }
}

void normalize_back(Layer &layer) {
    size_t count = layer.positions();
    for (int channel = 0; channel < layer.filters; channel++) {
        const Lanes *in = layer.convolved.data + channel * count, *out = layer.output.data + channel * count;
        const Lanes *from = layer.output_gradient.data + channel * count;
        Lanes *gradient = layer.convolved_gradient.data + channel * count, total = ZERO, products = ZERO;
        float mean = layer.mean[channel], deviation = layer.deviation[channel];
        for (size_t i = 0; i < count; i++) {
            gradient[i] = out[i] > ZERO ? from[i] : ZERO;
            total += gradient[i];
            products += gradient[i] * (in[i] - mean) / deviation;
        }
        layer.beta.gradient[channel] = sum(total), layer.gamma.gradient[channel] = sum(products);
        float of_beta = sum(total) / (count * 16), of_gamma = sum(products) / (count * 16);
        float factor = layer.gamma.value[channel] / deviation;
        for (size_t i = 0; i < count; i++)
            gradient[i] = factor * (gradient[i] - of_beta - (in[i] - mean) / deviation * of_gamma);
    }
}
