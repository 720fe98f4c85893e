// Says which digit a picture shows: digit MODEL.onnx PICTURE.pgm ...
#include <onnxruntime_cxx_api.h>

#include <algorithm>
#include <array>
#include <cstdint>
#include <cstdio>
#include <fstream>
#include <stdexcept>
#include <string>

using Pixels = std::array<std::uint8_t, 784>;
using Probabilities = std::array<float, 10>;

// Reads a binary PGM file of 28×28 grey bytes without comments, as Pillow writes it.
Pixels read_pgm(const std::string& path) {
    std::ifstream file(path, std::ios::binary);
    std::string magic;
    int width = 0, height = 0, white = 0;
    Pixels pixels;
    file >> magic >> width >> height >> white;
    file.get();  // the one white space before the pixels
    file.read(reinterpret_cast<char*>(pixels.data()), pixels.size());
    if (!file || magic != "P5" || width != 28 || height != 28 || white != 255) {
        throw std::runtime_error(path + " is not a binary PGM file of 28×28 pixels and 255 greys");
    }
    return pixels;
}

Probabilities classify(Ort::Session& session, Pixels pixels) {
    const std::array<std::int64_t, 4> shape{1, 1, 28, 28};
    const char* const inputs[] = {"image"};
    const char* const outputs[] = {"probabilities"};
    const auto memory = Ort::MemoryInfo::CreateCpu(OrtArenaAllocator, OrtMemTypeDefault);
    const auto image = Ort::Value::CreateTensor(memory, pixels.data(), pixels.size(), shape.data(), shape.size());
    const auto results = session.Run(Ort::RunOptions{}, inputs, &image, 1, outputs, 1);
    Probabilities probabilities;
    std::copy_n(results.front().GetTensorData<float>(), probabilities.size(), probabilities.begin());
    return probabilities;
}

int main(int count, char** arguments) try {
    if (count < 3) throw std::runtime_error("usage: digit MODEL.onnx PICTURE.pgm ...");
    const Ort::Env env;
    Ort::Session session{env, arguments[1], Ort::SessionOptions{}};
    for (int i = 2; i < count; i++) {
        const auto probabilities = classify(session, read_pgm(arguments[i]));
        const auto likeliest = std::max_element(probabilities.begin(), probabilities.end());
        std::printf("%s: %d (%.1f %%)\n", arguments[i], static_cast<int>(likeliest - probabilities.begin()),
                    100 * *likeliest);
    }
} catch (const std::exception& error) {
    std::fprintf(stderr, "%s\n", error.what());
    return 1;
}
