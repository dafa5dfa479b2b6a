/*
 * Several models in one program: for each, the logits of a deterministic text, as checksums. `models.inc`, which the test
 * writes, declares the models and their table.
 *
 * Arguments: the weight file of each model. Output: a line per model, a checksum per call of `step`.
 */
#include "gem.h"
#include "testing.h"

typedef struct {
    const gem_abi_program *program;
    size_t (*memory)(uint32_t);
    int (*open)(gem_model **, void *, size_t, const void *, size_t, uint32_t);
    int (*step)(gem_model *, const uint32_t *, uint32_t, const float **);
    uint32_t (*position)(const gem_model *);
    int (*truncate)(gem_model *, uint32_t);
} api;

#define API(p) {&p##_program, p##_memory, p##_open, p##_step, p##_position, p##_truncate}

#include "models.inc"

static void print_checksum(const float *logits, uint32_t n)
{
    uint64_t hash = 0xcbf29ce484222325u;
    for (uint32_t i = 0; i < n; i++) {
        uint32_t word;
        memcpy(&word, &logits[i], 4);
        hash = (hash ^ word) * 0x100000001b3u;
    }
    printf(" %016llx", (unsigned long long)hash);
}

static void run(const api *m, const char *path)
{
    const gem_abi_program *p = m->program;
    size_t weights_bytes;
    const void *weights = contents(path, &weights_bytes);
    uint32_t context = p->max_context, n = context;
    if (n > TOKENS)
        n = TOKENS;
    size_t bytes = m->memory(context);
    void *memory = aligned(bytes);
    /* What memory holds before must not matter. */
    memset(memory, 0xff, bytes);
    uint32_t ids[TOKENS];
    for (uint32_t i = 0; i < n; i++)
        ids[i] = (i * 37 + i * i) % p->vocab_size;
    gem_model *model;
    REQUIRE(p->abi == GEM_ABI && p->bytes == sizeof *p);
    REQUIRE(!m->open(&model, memory, bytes, weights, weights_bytes, context));
    const float *logits;
    printf("%s:", p->name);
    if (p->task == GEM_SEQUENCE_CLASSIFICATION) {
        for (uint32_t length = 1; length <= n; length += 9) {
            REQUIRE(!m->step(model, ids, length, &logits));
            print_checksum(logits, p->n_logits);
            REQUIRE(m->position(model) == 0);
        }
    } else {
        /* Single tokens, then the rest at once, more than a step has rows where the context allows. */
        for (uint32_t i = 0; i < 5 && i < n; i++) {
            REQUIRE(!m->step(model, ids + i, 1, &logits));
            print_checksum(logits, p->n_logits);
        }
        REQUIRE(!m->step(model, ids + 5, n - 5, &logits));
        print_checksum(logits, p->n_logits);
        REQUIRE(m->position(model) == n);
        /* Back by some, then on without logits, then with. */
        REQUIRE(!m->truncate(model, n - 3));
        REQUIRE(!m->truncate(model, n));
        REQUIRE(m->position(model) == n - 3);
        REQUIRE(!m->step(model, ids + n - 3, 2, NULL));
        REQUIRE(!m->step(model, ids + n - 1, 1, &logits));
        print_checksum(logits, p->n_logits);
        /* As far back as its layers remember, no further; and to the beginning. */
        if (p->shape.rewind < n - 1) {
            REQUIRE(m->truncate(model, n - p->shape.rewind - 1) == GEM_OVERWRITTEN);
            REQUIRE(m->position(model) == n);
        }
        REQUIRE(!m->truncate(model, p->shape.rewind < n ? n - p->shape.rewind : 1));
        REQUIRE(!m->truncate(model, 0));
        REQUIRE(!m->step(model, ids, n, &logits));
        print_checksum(logits, p->n_logits);
    }
    printf("\n");
}

int main(int argc, char **argv)
{
    size_t count = sizeof models / sizeof *models;
    REQUIRE((size_t)argc == count + 1);
    for (size_t i = 0; i < count; i++)
        run(&models[i], argv[i + 1]);
    return 0;
}
