// Values of a batch, and random numbers.
//
// Values lie as [channel][row][column][image of the batch]: one instruction computes 16 images, so that a layer of four
// filters costs what its multiplications cost. TensorFlow's layout has the filters last, where four fill a quarter.
#pragma once

#include <algorithm>
#include <cmath>
#include <cstdint>
#include <cstdlib>

using Lanes = float __attribute__((vector_size(64)));  // 16 images

constexpr int SIDE = 28, PIXELS = SIDE * SIDE, CLASSES = 10, BATCH = 128, VECTORS = BATCH / 16;
constexpr float PI = 3.14159265f;
constexpr Lanes ZERO = {};

Lanes all(float value) { return value - ZERO; }

float sum(Lanes lanes) {
    float total = 0;
    for (int lane = 0; lane < 16; lane++) total += lanes[lane];
    return total;
}

struct Random {  // xorshift64*
    uint64_t state;

    explicit Random(int seed) : state(0x9E3779B97F4A7C15ULL * (seed + 1)) {
        for (int i = 0; i < 20; i++) next();
    }
    uint64_t next() {
        state ^= state << 13, state ^= state >> 7, state ^= state << 17;
        return state * 0x2545F4914F6CDD1DULL;
    }
    float uniform() { return (next() >> 40) * (1.0f / 16777216); }
    float between(float most) { return (2 * uniform() - 1) * most; }
    float normal() { return std::sqrt(-2 * std::log(uniform() + 1e-9f)) * std::cos(2 * PI * uniform()); }
};

struct Values {  // [channels][side][side][BATCH]
    Lanes *data = nullptr;

    void resize(size_t vectors) {
        data = static_cast<Lanes *>(std::aligned_alloc(64, vectors * sizeof(Lanes)));
        std::fill(data, data + vectors, ZERO);
    }
};
