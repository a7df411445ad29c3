/* The first bytes of a connection: once the protocol is known it does not change, and every HTTP/1
 * request gets an answer. */
#include "conn/http1_answer.h"
#include "conn/sniff.h"

#include <stdint.h>
#include <stdlib.h>
#include <string.h>

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size);

static void check_answer(const uint8_t *request, size_t length)
{
    static const struct http1_refusal refusal = {505, "reason"};
    char answer[HTTP1_ANSWER_MAX];
    const struct http1_endpoint endpoint = {.authority = "127.0.0.1:8080"};
    size_t written =
        http1_answer_write(answer, &refusal, (struct span){request, length}, &endpoint);

    if (written == 0 || written >= sizeof(answer) || strlen(answer) != written)
        abort();
    for (size_t i = 0; i < written; i++) {
        if ((answer[i] < 0x20 && answer[i] != '\r' && answer[i] != '\n') || answer[i] == 0x7f)
            abort();
    }
}

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size)
{
    enum sniffed protocol = SNIFFED_INCOMPLETE;

    for (size_t length = 0; length <= size; length++) {
        enum sniffed next = sniff_protocol(data, length);

        if (protocol != SNIFFED_INCOMPLETE && next != protocol)
            abort();
        protocol = next;
    }
    if (protocol == SNIFFED_INCOMPLETE && size >= SNIFF_LINE_MAX)
        abort();
    if (protocol == SNIFFED_HTTP1)
        check_answer(data, size);
    return 0;
}
