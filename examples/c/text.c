/*
 * Text in, text out, from an object and libgem_runtime.a.
 *
 *     text MODEL_FOLDER COUNT PROMPT
 *
 * continues PROMPT by the COUNT most probable tokens; with a classifier, prints the labels of PROMPT, best first.
 * Built by the Makefile beside it.
 */
#include <stdio.h>
#include <stdlib.h>

#include "gem_text.h"

static void check(int status)
{
    if (status) {
        fprintf(stderr, "error: %s\n", gem_last_error());
        exit(1);
    }
}

static int print_piece(void *out, const gem_piece *piece)
{
    return fwrite(piece->text, 1, piece->bytes, out) != piece->bytes || fflush(out);
}

static int print_label(void *out, const char *label, float score)
{
    return fprintf(out, "%.3f %s\n", score, label) < 0;
}

int main(int argc, char **argv)
{
    if (argc != 4) {
        fprintf(stderr, "usage: %s MODEL_FOLDER COUNT PROMPT\n", argv[0]);
        return 2;
    }
    gem_text *text;
    gem_session *session;
    check(gem_text_open(&text, &gem_program, argv[1]));
    check(gem_session_open(&session, text, 0, 0));
    if (gem_program.task == GEM_SEQUENCE_CLASSIFICATION) {
        check(gem_classify(session, argv[3], print_label, stdout));
    } else {
        gem_sampling sampling;
        gem_sampling_greedy(&sampling);
        sampling.max_tokens = (uint32_t)strtoul(argv[2], NULL, 10);
        check(gem_generate(session, argv[3], &sampling, print_piece, stdout));
        printf("\n");
    }
    gem_session_close(session);
    gem_text_close(text);
    return 0;
}
