// The network of a recipe: convolutions and a Dense layer.
#pragma once

#include <cstdio>
#include <sstream>
#include <string>

#include "layer.h"

struct Network {
    std::vector<Layer> layers;
    Weights dense, bias;  // [features][CLASSES]
    int features;
    Values pixels;
    Lanes logits[CLASSES][VECTORS], gradient[CLASSES][VECTORS];

    Network(const std::string &convs, Random &random) {
        std::istringstream text(convs);
        int side = SIDE, channels = 1;
        for (std::string item; std::getline(text, item, ';');) {
            Layer layer{};
            char padding[8];
            std::sscanf(item.c_str(), "%d,%d,%d,%7s", &layer.filters, &layer.kernel, &layer.stride, padding);
            layer.inputs = channels, layer.in_side = side;
            bool same = std::string(padding) == "same";
            layer.out_side = same ? (side - 1) / layer.stride + 1 : (side - layer.kernel) / layer.stride + 1;
            layer.before = same ? std::max(0, (layer.out_side - 1) * layer.stride + layer.kernel - side) / 2 : 0;
            int area = layer.kernel * layer.kernel;
            layer.weights.resize(area * channels * layer.filters, true);
            layer.weights.draw(random, std::sqrt(6.0f / (area * (channels + layer.filters))));
            layer.gamma.resize(layer.filters, false, 1), layer.beta.resize(layer.filters, false);
            layer.moving_mean.assign(layer.filters, 0), layer.moving_variance.assign(layer.filters, 1);
            layer.mean = layer.deviation = layer.moving_mean;
            side = layer.out_side, channels = layer.filters;
            for (Values *values : {&layer.convolved, &layer.output, &layer.output_gradient, &layer.convolved_gradient})
                values->resize(layer.filters * layer.positions());
            layers.push_back(layer);
        }
        features = channels * side * side;
        dense.resize(features * CLASSES, true), bias.resize(CLASSES, false);
        dense.draw(random, std::sqrt(6.0f / (features + CLASSES)));
        pixels.resize(PIXELS * VECTORS);
    }

    void forward(bool training) {
        const Lanes *in = pixels.data;
        for (Layer &layer : layers) {
            in_fours(layer.filters, [&](auto count, int first) { convolve<count>(in, layer, first); });
            normalize(layer, training);
            in = layer.output.data;
        }
        for (int digit = 0; digit < CLASSES; digit++)
            for (int part = 0; part < VECTORS; part++) logits[digit][part] = all(bias.value[digit]);
        for (int feature = 0; feature < features; feature++)
            for (int digit = 0; digit < CLASSES; digit++)
                for (int part = 0; part < VECTORS; part++)
                    logits[digit][part] += dense.value[feature * CLASSES + digit] * in[feature * VECTORS + part];
    }

    void backward(const Lanes (*targets)[VECTORS]) {  // of the mean cross-entropy
        for (int part = 0; part < VECTORS; part++) {
            Lanes exponentials[CLASSES], total = ZERO;
            for (int digit = 0; digit < CLASSES; digit++) {
                for (int lane = 0; lane < 16; lane++) exponentials[digit][lane] = std::exp(logits[digit][part][lane]);
                total += exponentials[digit];
            }
            for (int digit = 0; digit < CLASSES; digit++)
                gradient[digit][part] = (exponentials[digit] / total - targets[digit][part]) / BATCH;
        }
        for (int digit = 0; digit < CLASSES; digit++) {
            Lanes total = ZERO;
            for (int part = 0; part < VECTORS; part++) total += gradient[digit][part];
            bias.gradient[digit] = sum(total);
        }
        for (int feature = 0; feature < features; feature++) {
            const Lanes *in = layers.back().output.data + feature * VECTORS;
            Lanes *to = layers.back().output_gradient.data + feature * VECTORS;
            std::fill(to, to + VECTORS, ZERO);
            for (int digit = 0; digit < CLASSES; digit++) {
                Lanes products = ZERO;
                for (int part = 0; part < VECTORS; part++) {
                    to[part] += dense.value[feature * CLASSES + digit] * gradient[digit][part];
                    products += in[part] * gradient[digit][part];
                }
                dense.gradient[feature * CLASSES + digit] = sum(products);
            }
        }
        for (size_t index = layers.size(); index-- > 0;) {
            Layer &layer = layers[index];
            normalize_back(layer);
            const Lanes *in = index ? layers[index - 1].output.data : pixels.data;
            in_fours(layer.filters, [&](auto filters, int filter) {
                in_fours(layer.inputs, [&](auto inputs, int input) {
                    gradient_of_weights<filters, inputs>(in, layer, filter, input);
                });
            });
            if (index)
                in_fours(layer.inputs, [&](auto inputs, int input) {
                    gradient_of_inputs<inputs>(layers[index - 1].output_gradient.data, layer, input);
                });
        }
    }

    std::vector<std::vector<float> *> stored() {  // all that the trained network is
        std::vector<std::vector<float> *> parts;
        for (Layer &layer : layers) {
            for (Weights *weights : {&layer.weights, &layer.gamma, &layer.beta}) parts.push_back(&weights->value);
            parts.push_back(&layer.moving_mean), parts.push_back(&layer.moving_variance);
        }
        parts.push_back(&dense.value), parts.push_back(&bias.value);
        return parts;
    }

    void step(float rate, float decay, long done) {
        float corrected = rate * std::sqrt(1 - std::pow(BETA2, done)) / (1 - std::pow(BETA1, done));
        for (Layer &layer : layers)
            for (Weights *weights : {&layer.weights, &layer.gamma, &layer.beta}) weights->step(rate, corrected, decay);
        dense.step(rate, corrected, decay), bias.step(rate, corrected, decay);
    }
};
