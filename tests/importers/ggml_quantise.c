// A matrix in f32 -> the values that llama.cpp's quantiser makes of it: ggml_quantize_chunk and back.
//
//     ggml_quantise TYPE ROWS COLUMNS [IMPORTANCE] < IN > OUT
//
// TYPE is ggml's number. IMPORTANCE is a file of COLUMNS floats, what llama.cpp calls an importance matrix. Prints the bytes of
// the quantised matrix to standard error. Built by minilm_plans.py from ggml.c, ggml-quants.c and this file alone.

#include <stdio.h>
#include <stdlib.h>

#include "ggml.h"

// Of ggml-threading.cpp: one thread needs none.
void ggml_critical_section_start(void) {}
void ggml_critical_section_end(void) {}

static float *floats(FILE *file, size_t count) {
    float *values = malloc(count * sizeof(float));
    if (!values || fread(values, sizeof(float), count, file) != count) {
        fprintf(stderr, "too few values\n");
        exit(1);
    }
    return values;
}

int main(int count, char **arguments) {
    if (count < 4) return 2;
    enum ggml_type type = (enum ggml_type)atoi(arguments[1]);
    long long rows = atoll(arguments[2]), columns = atoll(arguments[3]);
    float *importance = NULL;
    if (count > 4) {
        FILE *file = fopen(arguments[4], "rb");
        if (!file) return 1;
        importance = floats(file, columns);
        fclose(file);
    }
    float *values = floats(stdin, rows * columns);
    size_t bytes = ggml_row_size(type, columns) * rows;
    void *codes = calloc(1, bytes);
    if (ggml_quantize_chunk(type, values, codes, 0, rows, columns, importance) != bytes) return 1;
    ggml_get_type_traits(type)->to_float(codes, values, rows * columns);
    fwrite(values, sizeof(float), rows * columns, stdout);
    fprintf(stderr, "%zu\n", bytes);
    return 0;
}
