/*
 * What the programs of this folder share: a condition that must hold, memory at gem.h's alignment, and files in it. To be
 * included after gem.h.
 */
#ifndef GEM_TESTING_H
#define GEM_TESTING_H

#include <stdint.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#define REQUIRE(holds)                                                                                               \
    do {                                                                                                             \
        if (!(holds)) {                                                                                              \
            fprintf(stderr, "line %d: %s\n", __LINE__, #holds);                                                      \
            exit(1);                                                                                                 \
        }                                                                                                            \
    } while (0)

static inline char *aligned(size_t bytes)
{
    char *start = malloc(bytes + GEM_ALIGNMENT);
    REQUIRE(start);
    return start + (GEM_ALIGNMENT - (uintptr_t)start % GEM_ALIGNMENT);
}

static inline char *contents(const char *path, size_t *bytes)
{
    FILE *file = fopen(path, "rb");
    REQUIRE(file && !fseek(file, 0, SEEK_END));
    *bytes = (size_t)ftell(file);
    char *data = aligned(*bytes + GEM_ALIGNMENT);
    rewind(file);
    REQUIRE(fread(data, 1, *bytes, file) == *bytes);
    fclose(file);
    return data;
}

#endif
