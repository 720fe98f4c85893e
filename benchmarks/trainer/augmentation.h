// Varies one image, as mnist_edge/training/augmentation.py does.
#pragma once

#include <map>
#include <string>

#include "lanes.h"

using Options = std::map<std::string, std::string>;

float read(const Options &options, const char *name) { return std::atof(options.at(name).c_str()); }

struct Augmentation {
    float turn, scale, stretch, shear, move, bend, stroke;

    explicit Augmentation(const Options &options)
        : turn(read(options, "turn") * PI / 180), scale(read(options, "scale")), stretch(read(options, "stretch")),
          shear(read(options, "shear")), move(read(options, "move")), bend(read(options, "bend")),
          stroke(read(options, "stroke")) {}

    void apply(float *image, Random &random) const {
        constexpr int PADDED = SIDE + 2;
        static float padded[PADDED * PADDED + PADDED];
        if (stroke) pen(image, random.between(stroke));
        for (int row = 0; row < SIDE; row++)
            std::copy(image + row * SIDE, image + row * SIDE + SIDE, padded + (row + 1) * PADDED + 1);
        float angle = random.between(turn), both = random.between(scale), apart = random.between(stretch);
        float slant = random.between(shear), down = random.between(move), right = random.between(move);
        float high = std::exp(both + apart), wide = std::exp(both - apart);
        float cosine = std::cos(angle), sine = std::sin(angle), centre = (SIDE - 1) / 2.0f;
        static float field[2][PIXELS];
        if (bend) draw_field(field, random.uniform() * bend, random);
        for (int row = 0; row < SIDE; row++)
            for (int column = 0; column < SIDE; column++) {
                float y = row - centre, x = column - centre;
                float from_y = (cosine * y - sine * x) * high + down + field[0][row * SIDE + column];
                float from_x = (sine * y + cosine * x) * wide + slant * y + right + field[1][row * SIDE + column];
                from_y = std::clamp(from_y + centre + 1, 0.0f, PADDED - 1.001f);
                from_x = std::clamp(from_x + centre + 1, 0.0f, PADDED - 1.001f);
                int top = int(from_y), left = int(from_x);
                float below = from_y - top, beside = from_x - left;
                const float *at = padded + top * PADDED + left;
                float upper = at[0] * (1 - beside) + at[1] * beside;
                float lower = at[PADDED] * (1 - beside) + at[PADDED + 1] * beside;
                image[row * SIDE + column] = upper * (1 - below) + lower * below;
            }
    }

    static void pen(float *image, float share) {  // thicker where it is positive, thinner where it is negative
        float was[PIXELS];
        std::copy(image, image + PIXELS, was);
        for (int row = 0; row < SIDE; row++)
            for (int column = 0; column < SIDE; column++) {
                float most = was[row * SIDE + column];
                for (int y = std::max(0, row - 1); y <= std::min(SIDE - 1, row + 1); y++)
                    for (int x = std::max(0, column - 1); x <= std::min(SIDE - 1, column + 1); x++)
                        most = share > 0 ? std::max(most, was[y * SIDE + x]) : std::min(most, was[y * SIDE + x]);
                image[row * SIDE + column] += std::abs(share) * (most - was[row * SIDE + column]);
            }
    }

    static void draw_field(float (*field)[PIXELS], float deviation, Random &random) {
        constexpr int GRID = 5;
        float points[2][GRID][GRID];
        for (int row = 0; row < GRID; row++)
            for (int column = 0; column < GRID; column++)
                for (auto &axis : points) axis[row][column] = random.normal() * deviation;
        for (int row = 0; row < SIDE; row++)
            for (int column = 0; column < SIDE; column++) {
                float y = std::clamp((row + 0.5f) * GRID / SIDE - 0.5f, 0.0f, GRID - 1.0f);
                float x = std::clamp((column + 0.5f) * GRID / SIDE - 0.5f, 0.0f, GRID - 1.0f);
                int top = std::min(int(y), GRID - 2), left = std::min(int(x), GRID - 2);
                float below = y - top, beside = x - left;
                for (int axis = 0; axis < 2; axis++) {
                    auto &grid = points[axis];
                    float upper = grid[top][left] * (1 - beside) + grid[top][left + 1] * beside;
                    float lower = grid[top + 1][left] * (1 - beside) + grid[top + 1][left + 1] * beside;
                    field[axis][row * SIDE + column] = upper * (1 - below) + lower * below;
                }
            }
    }
};
