// Trains one network on varied images, as mnist_edge/training/augmented.py does, about ten times as fast as Keras.
//
//     trainer FOLDER convs='4,5,2,valid;8,3,2,same' epochs=60 learning_rate=0.012 weight_decay=0.0001 unvaried=0.2
//             seed=0 turn=10 scale=0.08 stretch=0.06 shear=0.15 move=0.7 bend=0 stroke=0 [save=FILE]
//             [teacher=FILE teacher_convs='8,5,2,valid;16,3,2,same' share=0.7 temperature=2]
//
// FOLDER has images.u8 [N, 28, 28] and targets.f32 [N, 10] to train on, held_out_images.u8 and held_out_labels.u8 to
// try the network on. It prints one line of JSON. A network that was saved can be the teacher of another.

#include <chrono>
#include <fstream>
#include <numeric>
#include <optional>

#include "augmentation.h"
#include "network.h"

using Bytes = std::vector<uint8_t>;

constexpr float WARM_UP = 0.1f;

template <class Item>
std::vector<Item> contents(const std::string &path) {
    std::ifstream file(path, std::ios::binary | std::ios::ate);
    if (!file) std::fprintf(stderr, "%s cannot be read\n", path.c_str()), std::exit(2);
    std::vector<Item> items(file.tellg() / sizeof(Item));
    file.seekg(0).read(reinterpret_cast<char *>(items.data()), items.size() * sizeof(Item));
    return items;
}

// Put one image of a batch where the network reads it.
void put(Network &network, int place, const float *image) {
    float *pixels = reinterpret_cast<float *>(network.pixels.data);
    for (int pixel = 0; pixel < PIXELS; pixel++) pixels[pixel * BATCH + place] = image[pixel];
}

void to_floats(const uint8_t *image, float *floats) {
    for (int pixel = 0; pixel < PIXELS; pixel++) floats[pixel] = image[pixel] / 255.0f;
}

struct Score {
    double error = 0, loss = 0;  // in percent; mean of the negative logarithms
};

Score score(Network &network, const Bytes &images, const Bytes &labels) {
    Score total;
    size_t count = labels.size();
    for (size_t first = 0; first < count; first += BATCH) {
        int filled = std::min<size_t>(BATCH, count - first);
        for (int place = 0; place < filled; place++) {
            float image[PIXELS];
            to_floats(&images[(first + place) * PIXELS], image);
            put(network, place, image);
        }
        network.forward(false);
        const float *logits = reinterpret_cast<const float *>(network.logits);
        for (int place = 0; place < filled; place++) {
            int label = labels[first + place], best = 0;
            double exponentials = 0;
            for (int digit = 0; digit < CLASSES; digit++) {
                exponentials += std::exp(double(logits[digit * BATCH + place]));
                if (logits[digit * BATCH + place] > logits[best * BATCH + place]) best = digit;
            }
            total.loss += (std::log(exponentials) - logits[label * BATCH + place]) / count;
            total.error += 100.0 * (best != label) / count;
        }
    }
    return total;
}

struct Training {
    Bytes images;
    std::vector<float> targets;
};

using Targets = Lanes[CLASSES][VECTORS];

// A trained network, whose probabilities have a share of the targets, as mnist_edge/training/distillation.py gives it.
struct Teacher {
    Network network;
    float share, temperature;

    Teacher(const Options &options, Random random)
        : network(options.at("teacher_convs"), random), share(read(options, "share")),
          temperature(read(options, "temperature")) {
        std::ifstream file(options.at("teacher"), std::ios::binary);
        for (std::vector<float> *part : network.stored())
            file.read(reinterpret_cast<char *>(part->data()), part->size() * sizeof(float));
        if (!file) std::fprintf(stderr, "the teacher cannot be read\n"), std::exit(2);
    }

    void teach(const Values &pixels, Targets &targets) {
        std::copy(pixels.data, pixels.data + PIXELS * VECTORS, network.pixels.data);
        network.forward(false);
        for (int part = 0; part < VECTORS; part++) {
            Lanes exponentials[CLASSES], total = ZERO;
            for (int digit = 0; digit < CLASSES; digit++) {
                for (int lane = 0; lane < 16; lane++)
                    exponentials[digit][lane] = std::exp(network.logits[digit][part][lane] / temperature);
                total += exponentials[digit];
            }
            for (int digit = 0; digit < CLASSES; digit++)
                targets[digit][part] = (1 - share) * targets[digit][part] + share * exponentials[digit] / total;
        }
    }
};

float rate_at(long step, long steps, float most) {  // Keras's CosineDecay with a warm-up
    long warm_up = long(WARM_UP * steps);
    if (step < warm_up) return most * (WARM_UP + (1 - WARM_UP) * step / warm_up);
    return most * 0.5f * (1 + std::cos(PI * (step - warm_up) / (steps - warm_up)));
}

void train(Network &network, const Options &options, const Training &data, Random &random) {
    std::vector<int> order(data.images.size() / PIXELS);
    std::iota(order.begin(), order.end(), 0);
    Augmentation augmentation(options);
    int epochs = int(read(options, "epochs")), varied = epochs - int(std::lround(read(options, "unvaried") * epochs));
    long per_epoch = order.size() / BATCH, done = 0;
    alignas(64) Targets wanted;
    std::optional<Teacher> teacher;
    if (options.count("teacher")) teacher.emplace(options, random);  // a copy: the draws of the student stay as they are
    for (int epoch = 0; epoch < epochs; epoch++) {
        for (size_t i = order.size() - 1; i > 0; i--) std::swap(order[i], order[random.next() % (i + 1)]);
        for (long step = 0; step < per_epoch; step++) {
            for (int place = 0; place < BATCH; place++) {
                int index = order[step * BATCH + place];
                float image[PIXELS];
                to_floats(&data.images[size_t(index) * PIXELS], image);
                if (epoch < varied) augmentation.apply(image, random);
                put(network, place, image);
                for (int digit = 0; digit < CLASSES; digit++)
                    wanted[digit][place / 16][place % 16] = data.targets[index * CLASSES + digit];
            }
            if (teacher) teacher->teach(network.pixels, wanted);
            network.forward(true);
            network.backward(wanted);
            float rate = rate_at(done, per_epoch * epochs, read(options, "learning_rate"));
            network.step(rate, read(options, "weight_decay"), ++done);
        }
    }
}

int main(int count, char **arguments) {
    auto started = std::chrono::steady_clock::now();
    Options options;
    for (int i = 2; i < count; i++) {
        std::string text = arguments[i];
        options[text.substr(0, text.find('='))] = text.substr(text.find('=') + 1);
    }
    std::string folder = arguments[1];
    Random random(int(read(options, "seed")));
    Training data{contents<uint8_t>(folder + "/images.u8"), contents<float>(folder + "/targets.f32")};
    Bytes images = contents<uint8_t>(folder + "/held_out_images.u8");
    Bytes labels = contents<uint8_t>(folder + "/held_out_labels.u8");
    Network network(options.at("convs"), random);
    train(network, options, data, random);
    if (options.count("save")) {
        std::ofstream file(options.at("save"), std::ios::binary);
        for (const std::vector<float> *part : network.stored())
            file.write(reinterpret_cast<const char *>(part->data()), part->size() * sizeof(float));
    }
    Score held_out = score(network, images, labels);
    double seconds = std::chrono::duration<double>(std::chrono::steady_clock::now() - started).count();
    std::printf("{\"error\": %.3f, \"loss\": %.5f, \"seconds\": %.0f}\n", held_out.error, held_out.loss, seconds);
}
