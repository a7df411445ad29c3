#include "echo/detail.h"

#include "echo/detail_internal.h"

#include <errno.h>
#include <stdio.h>

/* The stream dependency in HEADERS, which RFC 9113 deprecates; null if there is none. */
static json_t *dependency_of(const struct wire_dependency *dependency)
{
    if (dependency->weight == 0)
        return json_null();
    return json_pack("{s:i, s:i, s:b}", "depends_on", (int)dependency->stream_id, "weight",
                     dependency->weight, "exclusive", (int)dependency->exclusive);
}

static json_t *report_of(const struct detail_report *report)
{
    return json_pack("{s:i, s:s}", "stream", (int)report->stream_id, "text", report->text);
}

/* The latest reports, the oldest first. */
static json_t *reports_of(const struct detail_reports *reports)
{
    json_t *list = json_array();
    size_t count = reports != NULL ? reports->count : 0;
    size_t first = count > DETAIL_REPORTS ? count - DETAIL_REPORTS : 0;

    for (size_t i = first; i < count; i++) {
        if (json_array_append_new(list, report_of(&reports->latest[i % DETAIL_REPORTS])) != 0) {
            json_decref(list);
            return NULL;
        }
    }
    return list;
}

static json_t *stream_of(const struct detail *detail)
{
    return json_pack("{s:i, s:I, s:I, s:i, s:o, s:o}", "id", (int)detail->stream_id, "request",
                     (json_int_t)detail->number, "content_bytes",
                     (json_int_t)detail->content_length, "send_window", (int)detail->stream_window,
                     "priority", detail_priority(detail), "dependency",
                     dependency_of(&detail->dependency));
}

/* A string if ${text} is UTF-8, else an object with its bytes in hexadecimal. */
static json_t *string_or_hex(const char *text)
{
    enum { BYTES_MAX = CERTIFICATE_SUBJECT_MAX };
    json_t *string;
    char hex[2 * BYTES_MAX + 1] = "";

    errno = 0;
    string = json_string(text);
    if (string != NULL || errno == ENOMEM)
        return string;
    for (size_t i = 0; i < BYTES_MAX && text[i] != '\0'; i++)
        snprintf(hex + 2 * i, sizeof(hex) - 2 * i, "%02x", (uint8_t)text[i]);
    return json_pack("{s:s}", "hex", hex);
}

static json_t *tls_of(const struct detail_origin *origin)
{
    const struct tls_info *info = &origin->tls;

    if (!origin->has_tls)
        return json_null();
    return json_pack("{s:s, s:s, s:s?, s:o, s:o, s:b}", "version", info->version, "cipher",
                     info->cipher, "alpn", info->alpn[0] != '\0' ? info->alpn : NULL, "sni",
                     info->sni[0] != '\0' ? string_or_hex(info->sni) : json_null(), "client",
                     info->has_client_certificate ? string_or_hex(info->client_subject)
                                                  : json_null(),
                     "resumed", (int)info->resumed);
}

static json_t *connection_of(const struct detail *detail)
{
    const struct detail_origin *origin = &detail->origin;

    return json_pack("{s:I, s:s, s:s, s:s, s:f, s:i, s:o}", "id", (json_int_t)origin->id,
                     "protocol", origin->protocol, "peer", origin->peer, "local", origin->local,
                     "age_ms", (double)detail->age_us / 1000, "send_window",
                     (int)detail->connection_window, "tls", tls_of(origin));
}

static json_t *hpack_of(const struct detail *detail)
{
    return json_pack("{s:I, s:I, s:I}", "wire_bytes", (json_int_t)detail->block.wire_bytes,
                     "decoded_bytes", (json_int_t)detail->fields->length, "table_bytes",
                     (json_int_t)detail->block.table_bytes);
}

/* Everything but the fields. */
static json_t *object_of(const struct detail *detail)
{
    return json_pack("{s:o, s:o, s:o, s:o, s:o, s:o}", "stream", stream_of(detail), "connection",
                     connection_of(detail), "client", detail_client(detail), "hpack",
                     hpack_of(detail), "dropped", detail_dropped(detail), "reports",
                     reports_of(detail->reports));
}

struct echo_body *detail_compose(struct arena *arena, const struct detail *detail)
{
    json_t *object = object_of(detail);
    struct echo_body *body = object != NULL ? detail_write(arena, detail, object) : NULL;

    json_decref(object);
    return body;
}
