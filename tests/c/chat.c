/*
 * A conversation of two turns in one session: chat MODEL_FOLDER COUNT FIRST SECOND prints the answers, a line each, and
 * how many tokens the session then holds. Refused calls leave the session as it was; damaged weights are told and end it.
 */
#include "gem_text.h"
#include "testing.h"

typedef struct {
    char text[4096];
    size_t bytes;
} answer;

static int append(void *user, const gem_piece *piece)
{
    answer *to = user;
    REQUIRE(to->bytes + piece->bytes < sizeof to->text);
    memcpy(to->text + to->bytes, piece->text, piece->bytes);
    to->bytes += piece->bytes;
    return 0;
}

int main(int argc, char **argv)
{
    REQUIRE(argc == 5);
    gem_text *text;
    gem_session *session;
    REQUIRE(!gem_text_open(&text, &gem_program, argv[1]));
    REQUIRE(gem_text_check(NULL) == GEM_NULL);
    if (gem_text_check(text)) {
        REQUIRE(gem_text_check(text) == GEM_WEIGHT_FILE);
        fprintf(stderr, "%s\n", gem_last_error());
        return 1;
    }
    REQUIRE(!gem_session_open(&session, text, 0, 2));
    gem_sampling sampling;
    gem_sampling_greedy(&sampling);
    sampling.max_tokens = (uint32_t)strtoul(argv[2], NULL, 10);
    static answer answers[2];
    const gem_message turns[] = {
        {"user", argv[3], NULL}, {"assistant", answers[0].text, NULL}, {"user", argv[4], NULL}};
    REQUIRE(!gem_chat(session, turns, 1, &sampling, append, &answers[0]));
    REQUIRE(!gem_chat(session, turns, 3, &sampling, append, &answers[1]));
    uint32_t position = gem_session_position(session);
    REQUIRE(gem_session_saturated(session) == 0 && gem_session_saturated(NULL) == 0);
    REQUIRE(gem_chat(session, NULL, 1, &sampling, append, &answers[1]) == GEM_NULL);
    REQUIRE(gem_chat(session, turns, 1, &sampling, NULL, NULL) == GEM_NULL);
    /* Everything fits, as it is written without options and with some. */
    const gem_date date = {2024, 7, 6, 12, 0, 0};
    const gem_chat_options options = {&date, "default", "{\"tools\": []}"};
    size_t begin = 9, count = 9;
    REQUIRE(!gem_chat_fit(session, turns, 3, NULL, 4, &begin, &count) && count == 0);
    REQUIRE(!gem_chat_fit(session, turns, 3, &options, 4, &begin, &count) && count == 0);
    REQUIRE(gem_chat_fit(session, turns, 3, NULL, 4, NULL, &count) == GEM_NULL);
    const gem_date none = {2023, 2, 29, 0, 0, 0};
    const gem_chat_options wrong[] = {{&none, NULL, NULL}, {NULL, "no such template", NULL}, {NULL, NULL, "[]"}};
    for (int i = 0; i < 3; i++) {
        REQUIRE(gem_chat_fit(session, turns, 3, &wrong[i], 4, &begin, &count) == GEM_FAILED);
        REQUIRE(gem_chat_with(session, turns, 1, &wrong[i], &sampling, append, &answers[1]) == GEM_FAILED);
    }
    /* A message may have more than a text, or another content. */
    const gem_message parts[] = {{"user", NULL, "{\"content\": \"x\", \"name\": \"y\"}"}};
    REQUIRE(!gem_chat_fit(session, parts, 1, NULL, 4, &begin, &count) && count == 0);
    const gem_message nothing[] = {{"user", NULL, NULL}, {"user", NULL, "x"}};
    REQUIRE(gem_chat_fit(session, &nothing[0], 1, NULL, 4, &begin, &count) == GEM_NULL);
    REQUIRE(gem_chat_fit(session, &nothing[1], 1, NULL, 4, &begin, &count) == GEM_FAILED);
    /* A session of few tokens leaves the first turn out, and says when the last is too long. */
    gem_session *small;
    int status = GEM_FULL;
    for (uint32_t context = 1; status; context++) {
        REQUIRE(status == GEM_FULL);
        REQUIRE(!gem_session_open(&small, text, context, 1));
        status = gem_chat_fit(small, turns, 3, NULL, 1, &begin, &count);
        gem_session_close(small);
    }
    REQUIRE(begin == 0 && count == 2);
    REQUIRE(gem_session_position(session) == position);
    for (int i = 0; i < 2; i++) {
        fwrite(answers[i].text, 1, answers[i].bytes, stdout);
        printf("\n");
    }
    printf("%u tokens\n", (unsigned)position);
    gem_session_close(session);
    gem_text_close(text);
    return 0;
}
