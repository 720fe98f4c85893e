// Says which digit a picture shows: digit MODEL.onnx PICTURE.pgm ...
#include <onnxruntime_c_api.h>
#include <stdint.h>
#include <stdio.h>
#include <stdlib.h>

static const OrtApi *ort;

static void check(OrtStatus *status) {
    if (status == NULL) return;
    fprintf(stderr, "%s\n", ort->GetErrorMessage(status));
    ort->ReleaseStatus(status);
    exit(1);
}

// Reads a binary PGM file of 28×28 grey bytes without comments, as Pillow writes it.
static void read_pgm(const char *path, uint8_t pixels[784]) {
    int width = 0, height = 0, white = 0;
    FILE *file = fopen(path, "rb");
    int good = file != NULL && fscanf(file, "P5 %d %d %d", &width, &height, &white) == 3 && fgetc(file) != EOF &&
               width == 28 && height == 28 && white == 255 && fread(pixels, 1, 784, file) == 784;
    if (file != NULL) fclose(file);
    if (good) return;
    fprintf(stderr, "%s is not a binary PGM file of 28×28 pixels and 255 greys\n", path);
    exit(1);
}

static void classify(OrtSession *session, uint8_t pixels[784], float probabilities[10]) {
    const int64_t shape[] = {1, 1, 28, 28};
    const char *const inputs[] = {"image"}, *const outputs[] = {"probabilities"};
    OrtMemoryInfo *memory;
    OrtValue *image, *result = NULL;
    float *numbers;
    check(ort->CreateCpuMemoryInfo(OrtArenaAllocator, OrtMemTypeDefault, &memory));
    check(ort->CreateTensorWithDataAsOrtValue(memory, pixels, 784, shape, 4, ONNX_TENSOR_ELEMENT_DATA_TYPE_UINT8,
                                              &image));
    check(ort->Run(session, NULL, inputs, (const OrtValue *const *)&image, 1, outputs, 1, &result));
    check(ort->GetTensorMutableData(result, (void **)&numbers));
    for (int i = 0; i < 10; i++) probabilities[i] = numbers[i];
    ort->ReleaseValue(result);
    ort->ReleaseValue(image);
    ort->ReleaseMemoryInfo(memory);
}

int main(int count, char **arguments) {
    OrtEnv *env;
    OrtSessionOptions *options;
    OrtSession *session;
    ort = OrtGetApiBase()->GetApi(ORT_API_VERSION);
    if (count < 3 || ort == NULL) {
        fputs(ort ? "usage: digit MODEL.onnx PICTURE.pgm ...\n" : "ONNX Runtime is older than its header\n", stderr);
        return 1;
    }
    check(ort->CreateEnv(ORT_LOGGING_LEVEL_WARNING, "digit", &env));
    check(ort->CreateSessionOptions(&options));
    check(ort->CreateSession(env, arguments[1], options, &session));
    for (int i = 2; i < count; i++) {
        uint8_t pixels[784];
        float probabilities[10];
        int digit = 0;
        read_pgm(arguments[i], pixels);
        classify(session, pixels, probabilities);
        for (int j = 1; j < 10; j++) digit = probabilities[j] > probabilities[digit] ? j : digit;
        printf("%s: %d (%.1f %%)\n", arguments[i], digit, 100 * (double)probabilities[digit]);
    }
    ort->ReleaseSession(session);
    ort->ReleaseSessionOptions(options);
    ort->ReleaseEnv(env);
    return 0;
}
