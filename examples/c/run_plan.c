/* Runs a plan file that Python's CompiledEncoder.save wrote, without Python.
 *
 *     run_plan FILE [HEIGHT WIDTH [THREADS [INPUT OUTPUT]]]
 *
 * INPUT holds raw float32 numbers (1, channels, HEIGHT, WIDTH); without it the input is a ramp. OUTPUT receives the
 * raw numbers of all outputs, one after the other. Prints the shape of each output and the time of a run.
 */
#include <stdio.h>
#include <stdlib.h>
#include <time.h>

#include "sparse_ovs.h"

enum { ROUNDS = 5 };

static void check(int ok, const char* what) {
    if (ok) return;
    fprintf(stderr, "error: %s: %s\n", what, sovs_last_error());
    exit(1);
}

static void* memory(size_t bytes) {
    void* made = malloc(bytes);
    check(made != NULL, "memory");
    return made;
}

/* A buffer of `count` float32 numbers. */
static sovs_buffer floats(size_t count) {
    const sovs_buffer made = {sizeof made, memory(count * sizeof(float)), count * sizeof(float), SOVS_F32};
    return made;
}

static double milliseconds(void) {
    struct timespec now;
    timespec_get(&now, TIME_UTC);
    return now.tv_sec * 1e3 + now.tv_nsec / 1e6;
}

static void fill(float* input, size_t count, const char* path) {
    if (path == NULL) {
        for (size_t i = 0; i < count; ++i) input[i] = (float)(i % 511) / 255.0f - 1.0f;
        return;
    }
    FILE* file = fopen(path, "rb");
    check(file != NULL && fread(input, sizeof(float), count, file) == count, path);
    fclose(file);
}

int main(int argc, char** argv) {
    if (argc < 2) {
        fprintf(stderr, "usage: run_plan FILE [HEIGHT WIDTH [THREADS [INPUT OUTPUT]]]\n");
        return 2;
    }
    const int64_t height = argc > 3 ? atoll(argv[2]) : 224, width = argc > 3 ? atoll(argv[3]) : 224;
    const int threads = argc > 4 ? atoi(argv[4]) : 1;
    check(sovs_abi_version() == SOVS_ABI_VERSION, "a library of this header's version");

    sovs_encoder* encoder = NULL;
    check(sovs_encoder_load(argv[1], &encoder) == SOVS_OK, "load");
    const int outputs = sovs_encoder_output_count(encoder);
    sovs_map* maps = memory(outputs * sizeof *maps);
    for (int i = 0; i < outputs; ++i) maps[i].size = sizeof *maps;
    check(sovs_encoder_outputs(encoder, 1, height, width, maps) == SOVS_OK, "maps");

    const size_t count = (size_t)(sovs_encoder_input_channels(encoder) * height * width);
    const sovs_buffer input = floats(count);
    fill(input.data, count, argc > 5 ? argv[5] : NULL);
    sovs_buffer* made = memory(outputs * sizeof *made);
    for (int i = 0; i < outputs; ++i) {
        const sovs_map m = maps[i];
        check(m.dtype == SOVS_F32, "float32 outputs");
        made[i] = floats((size_t)(m.n * m.c * m.h * m.w));
        printf("output %d: %lld x %lld x %lld x %lld\n", i, (long long)m.n, (long long)m.c, (long long)m.h,
               (long long)m.w);
    }

    double best = 0;
    for (int round = 0; round <= ROUNDS; ++round) { /* the first run makes the plan */
        const double start = milliseconds();
        check(sovs_encoder_run(encoder, &input, 1, height, width, made, outputs, threads) == SOVS_OK, "run");
        const double spent = milliseconds() - start;
        if (round == 0)
            printf("first run: %.2f ms\n", spent);
        else if (round == 1 || spent < best)
            best = spent;
    }
    printf("best of %d runs: %.2f ms (%s kernels, threads: %d)\n", ROUNDS, best, sovs_isa(), threads);

    FILE* out = argc > 6 ? fopen(argv[6], "wb") : NULL;
    for (int i = 0; i < outputs; ++i) {
        if (out != NULL) check(fwrite(made[i].data, 1, made[i].bytes, out) == made[i].bytes, argv[6]);
        free(made[i].data);
    }
    if (out != NULL) fclose(out);
    free(made);
    free(input.data);
    free(maps);
    sovs_encoder_destroy(encoder);
    return 0;
}
