/*
 * Everything gem.h says is refused, is; and a refused call leaves the model as it was. Arguments: the model's weight
 * file, one of another plan, one of another layout.
 */
#include "gem.h"
#include "testing.h"

int main(int argc, char **argv)
{
    REQUIRE(argc == 4);
    const uint32_t context = 8;
    size_t n, others, moved, bytes = gem_memory(context);
    char *weights = contents(argv[1], &n), *other = contents(argv[2], &others), *layout = contents(argv[3], &moved);
    char *memory = aligned(bytes + GEM_ALIGNMENT);
    gem_model *model = NULL;

    REQUIRE(gem_memory(0) == 0 && gem_memory(gem_program.max_context + 1) == 0 && gem_memory(UINT32_MAX) == 0);
    REQUIRE(gem_memory(gem_program.max_context) > gem_memory(1) && gem_memory(1) > gem_program.shape.arena_bytes);

    REQUIRE(gem_open(NULL, memory, bytes, weights, n, context) == GEM_NULL);
    REQUIRE(gem_open(&model, NULL, bytes, weights, n, context) == GEM_NULL);
    REQUIRE(gem_open(&model, memory, bytes, NULL, n, context) == GEM_NULL);
    REQUIRE(gem_open(&model, memory, bytes, weights, n, 0) == GEM_CONTEXT);
    REQUIRE(gem_open(&model, memory, bytes, weights, n, gem_program.max_context + 1) == GEM_CONTEXT);
    REQUIRE(gem_open(&model, memory + 32, bytes, weights, n, context) == GEM_MISALIGNED);
    REQUIRE(gem_open(&model, memory, bytes, weights + 1, n, context) == GEM_MISALIGNED);
    REQUIRE(gem_open(&model, memory, bytes - 1, weights, n, context) == GEM_MEMORY);
    REQUIRE(gem_open(&model, memory, 0, weights, n, context) == GEM_MEMORY);

    for (size_t length = 0; length < n; length = length < 200 ? length + 1 : length * 3)
        REQUIRE(gem_open(&model, memory, bytes, weights, length, context) == GEM_WEIGHT_FILE);
    REQUIRE(gem_open(&model, memory, bytes, weights, n + 1, context) == GEM_WEIGHT_FILE);
    /* Any damage before the weights is found, by itself or by the checksum. */
    size_t head = 0;
    memcpy(&head, weights + 16, 8);
    for (size_t at = 0; at < head; at += at < 256 ? 1 : 501) {
        weights[at] ^= 0x10;
        REQUIRE(gem_open(&model, memory, bytes, weights, n, context) == GEM_WEIGHT_FILE);
        weights[at] ^= 0x10;
    }
    REQUIRE(gem_open(&model, memory, bytes, other, others, context) == GEM_WRONG_WEIGHTS);
    REQUIRE(gem_open(&model, memory, bytes, layout, moved, context) == GEM_WRONG_WEIGHTS);
    REQUIRE(model == NULL);

    REQUIRE(gem_check(NULL, n) == GEM_NULL && gem_check(weights + 8, n) == GEM_MISALIGNED);
    REQUIRE(gem_check(weights, 0) == GEM_WEIGHT_FILE && gem_check(weights, n - 1) == GEM_WEIGHT_FILE);
    REQUIRE(gem_check(other, others) == GEM_WRONG_WEIGHTS);
    REQUIRE(gem_check(layout, moved) == GEM_WRONG_WEIGHTS);
    REQUIRE(gem_check(weights, n) == GEM_OK);
    /* Any damage at all is found: of the header, of records, of what lies between them. */
    for (size_t at = 0; at < n; at += at < head && at >= 256 ? 501 : 97) {
        weights[at] ^= (char)0x80;
        REQUIRE(gem_check(weights, n) == GEM_WEIGHT_FILE);
        weights[at] ^= (char)0x80;
    }
    REQUIRE(gem_check(weights, n) == GEM_OK);

    REQUIRE(gem_open(&model, memory, bytes, weights, n, context) == GEM_OK);
    REQUIRE(gem_position(model) == 0 && gem_context(model) == context);
    const uint32_t ids[9] = {1, 2, 3, 4, 5, 6, 7, 8, 9};
    const uint32_t foreign[2] = {1, gem_program.vocab_size};
    const float *logits = NULL;
    REQUIRE(gem_step(NULL, ids, 1, &logits) == GEM_NULL);
    REQUIRE(gem_step(model, NULL, 1, &logits) == GEM_NULL);
    REQUIRE(gem_step(model, ids, 0, &logits) == GEM_EMPTY);
    REQUIRE(gem_step(model, foreign, 2, &logits) == GEM_TOKEN);
    REQUIRE(gem_step(model, ids, 9, &logits) == GEM_FULL);
    REQUIRE(gem_step(model, ids, UINT32_MAX, &logits) == GEM_FULL);
    REQUIRE(logits == NULL && gem_position(model) == 0);

    REQUIRE(gem_step(model, ids, 5, &logits) == GEM_OK && gem_position(model) == 5);
    REQUIRE(gem_step(model, ids, 4, &logits) == GEM_FULL);
    REQUIRE(gem_step(model, foreign, 2, &logits) == GEM_TOKEN);
    REQUIRE(gem_position(model) == 5);
    REQUIRE(gem_step(model, ids + 5, 3, &logits) == GEM_OK && gem_position(model) == context);
    size_t width = gem_program.n_logits * sizeof *logits;
    float *first = malloc(width);
    REQUIRE(first);
    memcpy(first, logits, width);
    /* A second model with the same weights, never refused anything, gives the same. */
    char *more = aligned(bytes);
    gem_model *second;
    REQUIRE(gem_open(&second, more, bytes, weights, n, context) == GEM_OK);
    REQUIRE(gem_step(second, ids, 8, &logits) == GEM_OK && memcmp(first, logits, width) == 0);
    gem_reset(model);
    REQUIRE(gem_position(model) == 0 && gem_position(second) == 8);
    REQUIRE(gem_step(model, ids, 8, &logits) == GEM_OK && memcmp(first, logits, width) == 0);

    /* Weights that are no numbers: found where logits are asked for, and the sequence is as before. */
    gem_reset(model);
    memset(weights + head, 0xff, n - head);
    logits = NULL;
    REQUIRE(gem_step(model, ids, 3, &logits) == GEM_LOGITS && logits == NULL && gem_position(model) == 0);
    REQUIRE(gem_step(model, ids, 3, NULL) == GEM_OK && gem_position(model) == 3);

    for (int status = GEM_OK; status <= GEM_LOGITS; status++)
        REQUIRE(strlen(gem_error(status)) > 3 && strcmp(gem_error(status), gem_error(-1)) != 0);
    REQUIRE(strcmp(gem_error(GEM_OVERWRITTEN + 1), gem_error(-1)) == 0);
    puts("ok");
    return 0;
}
