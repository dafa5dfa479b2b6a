/*
 * Token ids in, token ids out, from nothing but the object: no runtime, no C library inside the model.
 *
 *     ids model.gemw COUNT ID...
 *
 * continues ID... by the COUNT most probable tokens, one after the other, and prints them; for a classifier, prints the
 * index of the most probable label. Built by the Makefile beside it.
 */
#include <stdio.h>
#include <stdlib.h>

#include "gem.h"

/* Memory aligned as gem.h wants it, by hand, which C99 can; never freed, as the model lives as long as the program. */
static void *aligned(size_t bytes)
{
    char *start = malloc(bytes + GEM_ALIGNMENT);
    return start ? start + (GEM_ALIGNMENT - (uintptr_t)start % GEM_ALIGNMENT) : NULL;
}

/* A whole file. A program with an operating system maps it instead: pages are then read when they are needed. */
static void *contents(const char *path, size_t *bytes)
{
    FILE *file = fopen(path, "rb");
    long length = -1;
    void *data = NULL;
    if (file && !fseek(file, 0, SEEK_END) && (length = ftell(file)) > 0 && !fseek(file, 0, SEEK_SET))
        data = aligned((size_t)length);
    if (!data || fread(data, 1, (size_t)length, file) != (size_t)length) {
        fprintf(stderr, "%s: cannot be read\n", path);
        exit(1);
    }
    fclose(file);
    *bytes = (size_t)length;
    return data;
}

static void check(int status)
{
    if (status) {
        fprintf(stderr, "error: %s\n", gem_error(status));
        exit(1);
    }
}

/* The largest of the logits; of equal ones the first. */
static uint32_t best(const float *logits)
{
    uint32_t best = 0, i;
    for (i = 1; i < gem_program.n_logits; i++)
        if (logits[i] > logits[best])
            best = i;
    return best;
}

static int ends(uint32_t id)
{
    uint32_t i;
    for (i = 0; i < gem_program.n_eos; i++)
        if (gem_program.eos[i] == id)
            return 1;
    return 0;
}

int main(int argc, char **argv)
{
    if (argc < 4) {
        fprintf(stderr, "usage: %s model.gemw COUNT ID...\n", argv[0]);
        return 2;
    }
    uint32_t count = (uint32_t)strtoul(argv[2], NULL, 10);
    uint32_t n = (uint32_t)argc - 3, i;
    uint32_t *ids = malloc(n * sizeof *ids);
    if (!ids)
        return 1;
    for (i = 0; i < n; i++)
        ids[i] = (uint32_t)strtoul(argv[i + 3], NULL, 10);

    /* Room for the prompt and what follows, as far as the model goes. */
    uint64_t wanted = (uint64_t)n + count;
    uint32_t context = wanted < gem_program.max_context ? (uint32_t)wanted : gem_program.max_context;
    size_t weights_bytes, bytes = gem_memory(context);
    const void *weights = contents(argv[1], &weights_bytes);
    gem_model *model;
    check(gem_open(&model, aligned(bytes), bytes, weights, weights_bytes, context));

    const float *logits;
    check(gem_step(model, ids, n, &logits));
    if (gem_program.task == GEM_SEQUENCE_CLASSIFICATION) {
        printf("%u %s\n", best(logits), gem_program.labels[best(logits)]);
        return 0;
    }
    for (i = 0; i < count; i++) {
        uint32_t next = best(logits);
        printf("%s%u", i ? " " : "", next);
        if (ends(next) || gem_position(model) == gem_context(model))
            break;
        check(gem_step(model, &next, 1, &logits));
    }
    printf("\n");
    return 0;
}
