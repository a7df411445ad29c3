/*
 * The accept loop when its system calls and allocations fail, each call in turn. During the start
 * the daemon logs an error and exits, and leaks nothing. Later it keeps serving and does not spin,
 * logs a warning once a minute, and recovers when the calls succeed again. Nothing depends on real
 * time: the tests set the clock and count calls.
 */
#include "faults/daemon.h"

#include <errno.h>
#include <poll.h>
#include <string.h>
#include <sysexits.h>

/* Not on a stack, since daemon_teardown uses it if a test fails. */
static struct daemon daemon;

static struct settings *long_timeouts(void)
{
    return daemon_settings("--idle-timeout=1h", "--header-timeout=1h", "--stream-timeout=1h",
                           "--drain-timeout=1h", NULL);
}

static void start_daemon(void)
{
    daemon_start(&daemon, long_timeouts());
}

static struct client *open_served_client(void)
{
    struct client *client = client_connect(&daemon);

    client_send_get(client, 1);
    client_check_served(client, 1);
    return client;
}

static bool is_closed(const struct client *client)
{
    return client->closed;
}

static void close_served_client(struct client *client)
{
    client_shutdown_write(client);
    client_wait_until(client, is_closed, 0);
    client_free(client);
}

/* Wait until the accept loop has called poll ${more} times, so that it has handled all events. */
static void wait_for_polls(size_t more)
{
    size_t until = faults_count(FAULTS_SERVER, FAULTS_POLL) + more;
    int left = faults_timeout_ms();

    while (faults_count(FAULTS_SERVER, FAULTS_POLL) < until && left-- > 0)
        poll(NULL, 0, 1);
    assert_true(left > 0);
}

/* Advance the clock by ${us} in steps of ${step_us}, and let the loop run some times for each. */
static void advance_in_steps(int64_t us, int64_t step_us)
{
    for (; us > 0; us -= step_us) {
        faults_advance(step_us);
        wait_for_polls(4);
    }
}

/* --- Start --- */

static const struct fault no_fault = {"none", FAULTS_POLL, EINTR, 0, 0};

/* Each of these calls has to succeed for the daemon to start. */
static const struct fault start_faults[] = {
    {"signalfd EMFILE", FAULTS_SIGNALFD, EMFILE, 1, 0},
    {"eventfd ENFILE", FAULTS_EVENTFD, ENFILE, 1, 0},
    {"mmap ENOMEM", FAULTS_MMAP, ENOMEM, 1, 0},
    {"mprotect ENOMEM", FAULTS_MPROTECT, ENOMEM, 1, 0},
    {"thread's attributes ENOMEM", FAULTS_THREAD_ATTRIBUTES, ENOMEM, 1, 0},
    {"pthread_create EAGAIN", FAULTS_THREAD, EAGAIN, 1, 0},
    {"allocation fails", FAULTS_ALLOCATION, ENOMEM, 1, 0},
};

/* Start the daemon, and stop it at once. Return whether the fault was injected. */
static bool try_start(const struct fault *fault, size_t n)
{
    bool hit;

    faults_arm(FAULTS_SERVER, fault, n);
    daemon_terminate();
    start_daemon();
    daemon_wait(&daemon);
    hit = faults_disarm();
    assert_int_equal(daemon.result, hit ? EX_OSERR : 0);
    assert_int_equal(faults_logged(FAULTS_SERVER, "cannot start"), hit ? 1 : 0);
    return hit;
}

static void test_failed_start(void **state)
{
    (void)state;
    for (size_t i = 0; i < COUNT(start_faults); i++) {
        size_t n = 0;

        while (try_start(&start_faults[i], n))
            n++;
        print_message("%s: at %zu calls\n", start_faults[i].name, n);
        assert_true(n > 0);
        try_start(&no_fault, 0); /* it receives the SIGTERM that is still pending */
    }
}

/* If a socket option of a listener cannot be set, there is an error and no descriptor is leaked. */
static void test_failed_listener(void **state)
{
    enum { OPTIONS = 2 };
    static const struct fault fault = {"setsockopt", FAULTS_SETSOCKOPT, ENOBUFS, 1, 0};
    struct settings *settings = long_timeouts();
    struct listeners listeners;
    long live = faults_live_blocks();
    size_t count;
    size_t n = 0;

    (void)state;
    faults_enter(FAULTS_SERVER);
    for (faults_arm(FAULTS_SERVER, &fault, 0); listeners_open(&settings->listen, &listeners) != 0;
         n++) {
        assert_true(faults_disarm());
        assert_int_equal(listeners.count, 0);
        assert_int_equal(faults_count(FAULTS_SERVER, FAULTS_CLOSE), 1 + n / OPTIONS);
        assert_int_equal(faults_logged(FAULTS_SERVER, "cannot listen on 127.0.0.1"), 1);
        faults_arm(FAULTS_SERVER, &fault, n + 1);
    }
    assert_false(faults_disarm());
    count = listeners.count;
    listeners_close(&listeners);
    faults_enter(FAULTS_TEST);
    assert_int_equal(n, count * OPTIONS); /* no option of an IPv4 listener may be missing */
    assert_int_equal(faults_live_blocks(), live);
    settings_unref(settings);
}

/* --- Interruptions --- */

static const struct fault interruptions[] = {
    {"poll EINTR", FAULTS_POLL, EINTR, 1, 0},
    {"poll EINTR thrice", FAULTS_POLL, EINTR, 3, 0},
    {"accept EINTR", FAULTS_ACCEPT, EINTR, 1, 0},
    {"accept ECONNABORTED", FAULTS_ACCEPT, ECONNABORTED, 1, 0},
    {"accept EPROTO", FAULTS_ACCEPT, EPROTO, 1, 0},
    {"accept ENETUNREACH", FAULTS_ACCEPT, ENETUNREACH, 1, 0},
    {"accept EPERM", FAULTS_ACCEPT, EPERM, 1, 0},
    {"read EINTR", FAULTS_READ, EINTR, 1, 0},
    {"close EINTR", FAULTS_CLOSE, EINTR, 1, 0},
    {"log's poll EINTR", FAULTS_LOG_POLL, EINTR, 1, 0},
};

/* Start a daemon, serve two clients, and stop it. Return whether the fault was injected. */
static bool serve_two_clients(enum faults_scope scope, const struct fault *fault, size_t n)
{
    struct client *first;
    struct client *second;

    faults_arm(FAULTS_SERVER, &no_fault, 0); /* to clear its log */
    faults_arm(scope, fault, n);
    start_daemon();
    first = open_served_client();
    second = open_served_client();
    close_served_client(first);
    client_send_get(second, 3);
    client_check_served(second, 3);
    close_served_client(second);
    daemon_stop(&daemon);
    assert_int_equal(faults_logged(FAULTS_SERVER, " warning "), 0);
    assert_int_equal(faults_logged(FAULTS_SERVER, " error "), 0);
    return faults_disarm();
}

static void interrupt_every_call(enum faults_scope scope, const struct fault *faults, size_t count)
{
    enum { CALLS_MAX = 30 }; /* since the loop calls poll as long as the daemon runs */

    for (size_t i = 0; i < count; i++) {
        size_t n = 0;

        while (n < CALLS_MAX && serve_two_clients(scope, &faults[i], n))
            n++;
        print_message("%s: at %zu calls\n", faults[i].name, n);
        assert_true(n > 0);
    }
}

static void test_interruptions(void **state)
{
    (void)state;
    interrupt_every_call(FAULTS_SERVER, interruptions, COUNT(interruptions));
}

/* What may end a worker's wait before there is a connection for it. */
static const struct fault early_wakeups[] = {
    {"sleep EINTR", FAULTS_SLEEP, EINTR, 1, 0},
    {"sleep EINTR thrice", FAULTS_SLEEP, EINTR, 3, 0},
    {"sleep ETIMEDOUT", FAULTS_SLEEP, ETIMEDOUT, 1, 0},
};

/* No connection is lost by that, even if it happens to the reserved worker, the first to wait: its
 * wait may time out, and a signal may interrupt it besides. */
static void test_early_wakeups(void **state)
{
    static const struct fault both = {"sleep ETIMEDOUT, and on", FAULTS_SLEEP, ETIMEDOUT, 3, 0};

    (void)state;
    interrupt_every_call(FAULTS_WORKER, early_wakeups, COUNT(early_wakeups));
    assert_true(serve_two_clients(FAULTS_WORKER, &both, 0));
}

/* --- Accepting that fails for some time --- */

struct accept_fault {
    struct fault fault;
    size_t attempts; /* before accepting is paused */
};

enum { FAILURES_MAX = 64, POLLS = 30 }; /* as ACCEPT_FAILURES_MAX in server_accept.c */

static const struct accept_fault accept_faults[] = {
    {{"accept EMFILE", FAULTS_ACCEPT, EMFILE, FAULTS_FOR_EVER, 0}, 1},
    {{"accept ENFILE", FAULTS_ACCEPT, ENFILE, FAULTS_FOR_EVER, 0}, 1},
    {{"accept ENOBUFS", FAULTS_ACCEPT, ENOBUFS, FAULTS_FOR_EVER, 0}, 1},
    {{"accept ENOMEM", FAULTS_ACCEPT, ENOMEM, FAULTS_FOR_EVER, 0}, 1},
    {{"accept EPERM", FAULTS_ACCEPT, EPERM, FAULTS_FOR_EVER, 0}, FAILURES_MAX},
    {{"accept EPROTO", FAULTS_ACCEPT, EPROTO, FAULTS_FOR_EVER, 0}, FAILURES_MAX},
    {{"accept ECONNABORTED", FAULTS_ACCEPT, ECONNABORTED, FAULTS_FOR_EVER, 0}, FAILURES_MAX},
    {{"accept EINTR", FAULTS_ACCEPT, EINTR, FAULTS_FOR_EVER, 0}, FAILURES_MAX},
    {{"accept EINVAL", FAULTS_ACCEPT, EINVAL, FAULTS_FOR_EVER, 0}, FAILURES_MAX},
    {{"pthread_create EAGAIN", FAULTS_THREAD, EAGAIN, FAULTS_FOR_EVER, 0}, 1},
    {{"mmap ENOMEM", FAULTS_MMAP, ENOMEM, FAULTS_FOR_EVER, 0}, 1},
    {{"mprotect ENOMEM", FAULTS_MPROTECT, ENOMEM, FAULTS_FOR_EVER, 0}, 1},
    {{"thread's attributes ENOMEM", FAULTS_THREAD_ATTRIBUTES, ENOMEM, FAULTS_FOR_EVER, 0}, 1},
};

/* The clients while accepting fails. */
struct scenario {
    struct client *served;  /* connected before */
    struct client *last;    /* served by the thread that was reserved; NULL = it still is */
    struct client *waiting; /* cannot be accepted yet */
};

/* Check that accepting was tried only at first and once a second after that, although the loop ran
 * more often. */
static void check_attempts(const struct accept_fault *accept_fault, size_t before, size_t seconds)
{
    size_t attempts = faults_count(FAULTS_SERVER, accept_fault->fault.call) - before;

    assert_true(attempts >= accept_fault->attempts);
    assert_true(attempts <= (1 + seconds) * accept_fault->attempts);
}

static void check_still_waits(struct client *client)
{
    client_receive_available(client);
    assert_false(client->closed);
    assert_int_equal(client->raw.length, 0);
}

static void begin_accept_fault(const struct accept_fault *accept_fault, struct scenario *scenario)
{
    *scenario = (struct scenario){0};
    start_daemon();
    scenario->served = open_served_client();
    wait_for_polls(1); /* so that a thread is reserved again */
    faults_arm(FAULTS_SERVER, &accept_fault->fault, 0);
    if (accept_fault->fault.call != FAULTS_ACCEPT)
        scenario->last = open_served_client();
    scenario->waiting = client_connect(&daemon);
    client_send_get(scenario->waiting, 1);
    wait_for_polls(POLLS);
    check_attempts(accept_fault, 0, 0);
    check_still_waits(scenario->waiting);
}

/* Check that the warning is logged once within a minute, and once more in the next. */
static void check_log(const struct accept_fault *accept_fault, struct client *waiting)
{
    size_t before = faults_count(FAULTS_SERVER, accept_fault->fault.call);

    assert_int_equal(faults_logged(FAULTS_SERVER, "accepting is paused"), 1);
    advance_in_steps(5 * SECOND, SECOND / 2);
    check_attempts(accept_fault, before, 5);
    check_still_waits(waiting);
    assert_int_equal(faults_logged(FAULTS_SERVER, "accepting is paused"), 1);
    advance_in_steps(60 * SECOND, 10 * SECOND);
    assert_int_equal(faults_logged(FAULTS_SERVER, "accepting is paused"), 2);
}

static void end_accept_fault(struct scenario *scenario)
{
    client_check_served(scenario->waiting, 1);
    close_served_client(scenario->waiting);
    if (scenario->last)
        close_served_client(scenario->last);
    if (scenario->served)
        close_served_client(scenario->served);
    daemon_stop(&daemon);
}

/* A call fails for more than a minute. The other connection is served meanwhile, and the waiting
 * one afterwards. */
static void try_accept_fault(const struct accept_fault *accept_fault)
{
    struct scenario scenario;

    begin_accept_fault(accept_fault, &scenario);
    check_log(accept_fault, scenario.waiting);
    client_send_get(scenario.served, 3);
    client_check_served(scenario.served, 3);
    assert_true(faults_disarm());
    advance_in_steps(SECOND, SECOND);
    end_accept_fault(&scenario);
}

static void test_accept_faults(void **state)
{
    (void)state;
    for (size_t i = 0; i < COUNT(accept_faults); i++) {
        print_message("%s\n", accept_faults[i].fault.name);
        try_accept_fault(&accept_faults[i]);
    }
}

/* No thread can be created, but one becomes free: the waiting client is served at once. */
static void test_thread_becomes_free(void **state)
{
    static const struct accept_fault accept_fault = {
        {"pthread_create", FAULTS_THREAD, EAGAIN, FAULTS_FOR_EVER, 0}, 1};
    struct scenario scenario;

    (void)state;
    begin_accept_fault(&accept_fault, &scenario);
    faults_freeze(true); /* so that the pause cannot end by time */
    close_served_client(scenario.served);
    scenario.served = NULL;
    client_check_served(scenario.waiting, 1);
    faults_freeze(false);
    assert_true(faults_disarm());
    end_accept_fault(&scenario);
}

/* --- Refused connections --- */

static void test_refused_connection(void **state)
{
    struct client *served;
    struct client *refused;

    (void)state;
    daemon_start(&daemon, daemon_settings("--max-connections-per-address=1", NULL));
    served = open_served_client();
    refused = client_connect(&daemon);
    client_wait_until(refused, is_closed, 0);
    client_free(refused);
    client_send_get(served, 3);
    client_check_served(served, 3);
    close_served_client(served);
    daemon_stop(&daemon); /* and check that no descriptor was leaked */
}

/* --- Trimming the heap --- */

/* Open streams with large fields and reset them, which takes a megabyte of malloc in small blocks.
 */
static struct client *open_costly_client(void)
{
    enum { STREAMS = 40 };
    static char value[4000];
    struct field fields[REQUEST_FIELDS + 4] = {REQUEST_OF("POST", "/costly")};
    struct client *client = open_served_client();
    int32_t id = 3;

    memset(value, 'v', sizeof(value) - 1);
    for (size_t i = REQUEST_FIELDS; i < COUNT(fields); i++)
        fields[i] = field_of("x", value);
    for (; id < 3 + 2 * STREAMS; id += 2) {
        frame_add_request(&client->peer->out, id, NGHTTP2_FLAG_END_HEADERS, fields, COUNT(fields));
        frame_add_reset(&client->peer->out, id, NGHTTP2_CANCEL);
    }
    client_send(client);
    client_send_get(client, id);
    client_check_served(client, id);
    return client;
}

/* malloc_trim takes long if the heap is large, and blocks all threads. So it is called once a
 * second at most, however many clients cause memory to be freed. */
static void test_heap_is_trimmed_seldom(void **state)
{
    enum { CLIENTS = 10, SECONDS = 5 };
    size_t trims;

    (void)state;
    start_daemon();
    faults_arm(FAULTS_SERVER, &no_fault, 0);
    faults_freeze(true);
    for (int i = 0; i < CLIENTS; i++) {
        close_served_client(open_costly_client());
        advance_in_steps(SECONDS * SECOND / CLIENTS, SECOND / 4);
    }
    trims = faults_count(FAULTS_SERVER, FAULTS_TRIM);
    faults_freeze(false);
    assert_true(trims > 0);
    assert_true(trims <= SECONDS + 1);
    daemon_stop(&daemon);
}

/* --- poll that fails for some time --- */

/* The loop sleeps each time, logs an error once, and serves clients all the same. */
static void test_failing_poll(void **state)
{
    static const struct fault fault = {"poll", FAULTS_POLL, ENOMEM, FAULTS_FOR_EVER, 0};
    struct client *served;
    size_t sleeps;

    (void)state;
    start_daemon();
    served = open_served_client();
    faults_arm(FAULTS_SERVER, &fault, 0);
    sleeps = faults_sleeps();
    close_served_client(open_served_client());
    client_send_get(served, 3);
    client_check_served(served, 3);
    wait_for_polls(POLLS);
    assert_true(faults_sleeps() - sleeps >= POLLS);
    assert_true(faults_logged(FAULTS_SERVER, "poll") <=
                1 + faults_count(FAULTS_SERVER, FAULTS_POLL) / (60 * 2));
    close_served_client(served);
    daemon_stop(&daemon);
    assert_true(faults_disarm());
}

int main(void)
{
    static const struct CMUnitTest tests[] = {
        TEST_OVER_TCP(test_failed_start),        TEST_OVER_EACH(test_failed_listener),
        TEST_OVER_EACH(test_interruptions),      TEST_OVER_EACH(test_early_wakeups),
        TEST_OVER_EACH(test_accept_faults),      TEST_OVER_EACH(test_thread_becomes_free),
        TEST_OVER_EACH(test_refused_connection), TEST_OVER_EACH(test_heap_is_trimmed_seldom),
        TEST_OVER_EACH(test_failing_poll),
    };

    daemon_prepare();
    return cmocka_run_group_tests(tests, NULL, NULL);
}
