/*
 * A fault at every call that the accept loop makes: at start-up it is refused in words, and nothing
 * is left behind; later nobody is lost, nothing spins, the log says so once a minute, and it goes
 * on when it can. Nothing is measured in time: time is the test's, and calls are counted.
 */
#include "faults/daemon.h"

#include <errno.h>
#include <poll.h>
#include <string.h>
#include <sysexits.h>

/* Not on a stack: a teardown stops what a failure leaves. */
static struct daemon daemon;

static struct settings *usual_settings(void)
{
    return daemon_settings("--idle-timeout=1h", "--header-timeout=1h", "--stream-timeout=1h",
                           "--drain-timeout=1h", NULL);
}

static void start(void)
{
    daemon_start(&daemon, usual_settings());
}

static struct client *served_client(void)
{
    struct client *client = client_connect(&daemon);

    client_send_get(client, 1);
    client_check_served(client, 1);
    return client;
}

static bool is_gone(const struct client *client)
{
    return client->closed;
}

static void say_farewell(struct client *client)
{
    client_shutdown_write(client);
    client_wait_until(client, is_gone, 0);
    client_free(client);
}

/* Wait until the accept loop has made ${more} calls of poll: what it does in a turn is done. */
static void await_turns(size_t more)
{
    size_t until = faults_count(FAULTS_SERVER, FAULTS_POLL) + more;
    int left = faults_timeout_ms();

    while (faults_count(FAULTS_SERVER, FAULTS_POLL) < until && left-- > 0)
        poll(NULL, 0, 1);
    assert_true(left > 0);
}

/* The loop sees ${us} go by in steps of ${step_us}, and has some turns for each. */
static void pass_time(int64_t us, int64_t step_us)
{
    for (; us > 0; us -= step_us) {
        faults_advance(step_us);
        await_turns(4);
    }
}

/* --- Start-up --- */

static const struct fault no_fault = {"none", FAULTS_POLL, EINTR, 0, 0};

/* Each is needed, so that the start is refused. */
static const struct fault start_faults[] = {
    {"signalfd EMFILE", FAULTS_SIGNALFD, EMFILE, 1, 0},
    {"eventfd ENFILE", FAULTS_EVENTFD, ENFILE, 1, 0},
    {"mmap ENOMEM", FAULTS_MMAP, ENOMEM, 1, 0},
    {"mprotect ENOMEM", FAULTS_MPROTECT, ENOMEM, 1, 0},
    {"thread's attributes ENOMEM", FAULTS_THREAD_ATTRIBUTES, ENOMEM, 1, 0},
    {"pthread_create EAGAIN", FAULTS_THREAD, EAGAIN, 1, 0},
    {"allocation fails", FAULTS_ALLOCATION, ENOMEM, 1, 0},
};

/* A start that is followed by an end at once. Return whether the fault struck. */
static bool try_start(const struct fault *fault, size_t n)
{
    bool hit;

    faults_arm(FAULTS_SERVER, fault, n);
    daemon_terminate();
    start();
    daemon_wait(&daemon);
    hit = faults_disarm();
    assert_int_equal(daemon.result, hit ? EX_OSERR : 0);
    assert_int_equal(faults_logged(FAULTS_SERVER, "cannot start"), hit ? 1 : 0);
    return hit;
}

static void test_start_that_fails(void **state)
{
    (void)state;
    for (size_t i = 0; i < COUNT(start_faults); i++) {
        size_t n = 0;

        while (try_start(&start_faults[i], n))
            n++;
        print_message("%s: at %zu calls\n", start_faults[i].name, n);
        assert_true(n > 0);
        try_start(&no_fault, 0); /* which takes the SIGTERM that a start that fails leaves */
    }
}

/* A listener that cannot be set up as it must be is refused, and leaves nothing behind. */
static void test_listener_that_fails(void **state)
{
    enum { OPTIONS = 2 };
    static const struct fault fault = {"setsockopt", FAULTS_SETSOCKOPT, ENOBUFS, 1, 0};
    struct settings *settings = usual_settings();
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
    assert_int_equal(n, count * OPTIONS); /* each option that an IPv4 listener has is needed */
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

/* A whole io, in which two are served. Return whether the fault struck. */
static bool try_life(enum faults_scope scope, const struct fault *fault, size_t n)
{
    struct client *first;
    struct client *second;

    faults_arm(FAULTS_SERVER, &no_fault, 0); /* its log begins anew */
    faults_arm(scope, fault, n);
    start();
    first = served_client();
    second = served_client();
    say_farewell(first);
    client_send_get(second, 3);
    client_check_served(second, 3);
    say_farewell(second);
    daemon_stop(&daemon);
    assert_int_equal(faults_logged(FAULTS_SERVER, " warning "), 0);
    assert_int_equal(faults_logged(FAULTS_SERVER, " error "), 0);
    return faults_disarm();
}

static void try_lives(enum faults_scope scope, const struct fault *faults, size_t count)
{
    enum { MANY = 30 }; /* since the loop has turns for as long as it lives */

    for (size_t i = 0; i < count; i++) {
        size_t n = 0;

        while (n < MANY && try_life(scope, &faults[i], n))
            n++;
        print_message("%s: at %zu calls\n", faults[i].name, n);
        assert_true(n > 0);
    }
}

static void test_interruptions(void **state)
{
    (void)state;
    try_lives(FAULTS_SERVER, interruptions, COUNT(interruptions));
}

/* What may end a worker's sleep before there is a connection for it. */
static const struct fault awakenings[] = {
    {"sleep EINTR", FAULTS_SLEEP, EINTR, 1, 0},
    {"sleep EINTR thrice", FAULTS_SLEEP, EINTR, 3, 0},
    {"sleep ETIMEDOUT", FAULTS_SLEEP, ETIMEDOUT, 1, 0},
};

/* Nobody is lost by it, least of all by the one that is reserved, which it is in the first place:
 * its time may be up, and a signal come besides. */
static void test_awakenings(void **state)
{
    static const struct fault both = {"sleep ETIMEDOUT, and on", FAULTS_SLEEP, ETIMEDOUT, 3, 0};

    (void)state;
    try_lives(FAULTS_WORKER, awakenings, COUNT(awakenings));
    assert_true(try_life(FAULTS_WORKER, &both, 0));
}

/* --- Accepting that fails for long --- */

/* What goes wrong from then on. */
struct scarcity {
    struct fault fault;
    size_t at_once; /* tries before accepting rests */
};

enum { LUCK = 64, TURNS = 30 }; /* so many that go wrong may be bad luck */

static const struct scarcity scarcities[] = {
    {{"accept EMFILE", FAULTS_ACCEPT, EMFILE, FAULTS_FOR_EVER, 0}, 1},
    {{"accept ENFILE", FAULTS_ACCEPT, ENFILE, FAULTS_FOR_EVER, 0}, 1},
    {{"accept ENOBUFS", FAULTS_ACCEPT, ENOBUFS, FAULTS_FOR_EVER, 0}, 1},
    {{"accept ENOMEM", FAULTS_ACCEPT, ENOMEM, FAULTS_FOR_EVER, 0}, 1},
    {{"accept EPERM", FAULTS_ACCEPT, EPERM, FAULTS_FOR_EVER, 0}, LUCK},
    {{"accept EPROTO", FAULTS_ACCEPT, EPROTO, FAULTS_FOR_EVER, 0}, LUCK},
    {{"accept ECONNABORTED", FAULTS_ACCEPT, ECONNABORTED, FAULTS_FOR_EVER, 0}, LUCK},
    {{"accept EINTR", FAULTS_ACCEPT, EINTR, FAULTS_FOR_EVER, 0}, LUCK},
    {{"accept EINVAL", FAULTS_ACCEPT, EINVAL, FAULTS_FOR_EVER, 0}, LUCK},
    {{"pthread_create EAGAIN", FAULTS_THREAD, EAGAIN, FAULTS_FOR_EVER, 0}, 1},
    {{"mmap ENOMEM", FAULTS_MMAP, ENOMEM, FAULTS_FOR_EVER, 0}, 1},
    {{"mprotect ENOMEM", FAULTS_MPROTECT, ENOMEM, FAULTS_FOR_EVER, 0}, 1},
    {{"thread's attributes ENOMEM", FAULTS_THREAD_ATTRIBUTES, ENOMEM, FAULTS_FOR_EVER, 0}, 1},
};

/* Whom it is tried on. */
struct scene {
    struct client *neighbour; /* who is served already */
    struct client *last;      /* with the thread that stood ready; NULL = it stands ready still */
    struct client *waiting;   /* who comes when nobody can be taken */
};

/* However many turns the loop has, it tries so often at once, and again after a second. */
static void check_tries(const struct scarcity *scarcity, size_t before, size_t seconds)
{
    size_t tries = faults_count(FAULTS_SERVER, scarcity->fault.call) - before;

    assert_true(tries >= scarcity->at_once);
    assert_true(tries <= (1 + seconds) * scarcity->at_once);
}

static void check_still_waits(struct client *client)
{
    client_receive_available(client);
    assert_false(client->closed);
    assert_int_equal(client->raw.length, 0);
}

static void begin_scarcity(const struct scarcity *scarcity, struct scene *scene)
{
    *scene = (struct scene){0};
    start();
    scene->neighbour = served_client();
    await_turns(1); /* and a thread stands ready again */
    faults_arm(FAULTS_SERVER, &scarcity->fault, 0);
    if (scarcity->fault.call != FAULTS_ACCEPT)
        scene->last = served_client();
    scene->waiting = client_connect(&daemon);
    client_send_get(scene->waiting, 1);
    await_turns(TURNS);
    check_tries(scarcity, 0, 0);
    check_still_waits(scene->waiting);
}

/* Within the minute it says it once; in the next, once more. */
static void check_complaints(const struct scarcity *scarcity, struct client *waiting)
{
    size_t before = faults_count(FAULTS_SERVER, scarcity->fault.call);

    assert_int_equal(faults_logged(FAULTS_SERVER, "accepting is paused"), 1);
    pass_time(5 * SECOND, SECOND / 2);
    check_tries(scarcity, before, 5);
    check_still_waits(waiting);
    assert_int_equal(faults_logged(FAULTS_SERVER, "accepting is paused"), 1);
    pass_time(60 * SECOND, 10 * SECOND);
    assert_int_equal(faults_logged(FAULTS_SERVER, "accepting is paused"), 2);
}

static void end_scarcity(struct scene *scene)
{
    client_check_served(scene->waiting, 1);
    say_farewell(scene->waiting);
    if (scene->last)
        say_farewell(scene->last);
    if (scene->neighbour)
        say_farewell(scene->neighbour);
    daemon_stop(&daemon);
}

/* It is over when the system gives again. */
static void try_scarcity(const struct scarcity *scarcity)
{
    struct scene scene;

    begin_scarcity(scarcity, &scene);
    check_complaints(scarcity, scene.waiting);
    client_send_get(scene.neighbour, 3);
    client_check_served(scene.neighbour, 3);
    assert_true(faults_disarm());
    pass_time(SECOND, SECOND);
    end_scarcity(&scene);
}

static void test_scarcity(void **state)
{
    (void)state;
    for (size_t i = 0; i < COUNT(scarcities); i++) {
        print_message("%s\n", scarcities[i].fault.name);
        try_scarcity(&scarcities[i]);
    }
}

/* No thread can be had, but one comes free: whoever waits gets it, at once. */
static void test_thread_that_comes_free(void **state)
{
    static const struct scarcity scarcity = {
        {"pthread_create", FAULTS_THREAD, EAGAIN, FAULTS_FOR_EVER, 0}, 1};
    struct scene scene;

    (void)state;
    begin_scarcity(&scarcity, &scene);
    faults_freeze(true); /* so that it cannot be the pause's end */
    say_farewell(scene.neighbour);
    scene.neighbour = NULL;
    client_check_served(scene.waiting, 1);
    faults_freeze(false);
    assert_true(faults_disarm());
    end_scarcity(&scene);
}

/* --- Refusing --- */

static void test_refused_connection(void **state)
{
    struct client *neighbour;
    struct client *refused;

    (void)state;
    daemon_start(&daemon, daemon_settings("--max-connections-per-address=1", NULL));
    neighbour = served_client();
    refused = client_connect(&daemon);
    client_wait_until(refused, is_gone, 0);
    client_free(refused);
    client_send_get(neighbour, 3);
    client_check_served(neighbour, 3);
    say_farewell(neighbour);
    daemon_stop(&daemon); /* which sees that no descriptor is left */
}

/* --- Memory that malloc keeps --- */

/* Streams that are opened with large fields and reset: malloc had to give a megabyte, in pieces. */
static struct client *costly_client(void)
{
    enum { STREAMS = 40 };
    static char value[4000];
    struct field fields[REQUEST_FIELDS + 4] = {REQUEST_OF("POST", "/costly")};
    struct client *client = served_client();
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

/* Giving it back costs the more the more there is, and stops everybody: however many clients ask
 * for it, it is done once a second at most. */
static void test_memory_is_given_back_seldom(void **state)
{
    enum { CLIENTS = 10, SECONDS = 5 };
    size_t trims;

    (void)state;
    start();
    faults_arm(FAULTS_SERVER, &no_fault, 0);
    faults_freeze(true);
    for (int i = 0; i < CLIENTS; i++) {
        say_farewell(costly_client());
        pass_time(SECONDS * SECOND / CLIENTS, SECOND / 4);
    }
    trims = faults_count(FAULTS_SERVER, FAULTS_TRIM);
    faults_freeze(false);
    assert_true(trims > 0);
    assert_true(trims <= SECONDS + 1);
    daemon_stop(&daemon);
}

/* --- Polling that fails for long --- */

/* The loop rests in each turn, says so once, and serves all the same. */
static void test_poll_that_fails(void **state)
{
    static const struct fault fault = {"poll", FAULTS_POLL, ENOMEM, FAULTS_FOR_EVER, 0};
    struct client *neighbour;
    size_t rests;

    (void)state;
    start();
    neighbour = served_client();
    faults_arm(FAULTS_SERVER, &fault, 0);
    rests = faults_sleeps();
    say_farewell(served_client());
    client_send_get(neighbour, 3);
    client_check_served(neighbour, 3);
    await_turns(TURNS);
    assert_true(faults_sleeps() - rests >= TURNS);
    assert_true(faults_logged(FAULTS_SERVER, "poll") <=
                1 + faults_count(FAULTS_SERVER, FAULTS_POLL) / (60 * 2));
    say_farewell(neighbour);
    daemon_stop(&daemon);
    assert_true(faults_disarm());
}

int main(void)
{
    static const struct CMUnitTest tests[] = {
        TEST_OVER_TCP(test_start_that_fails),    TEST_OVER_EACH(test_listener_that_fails),
        TEST_OVER_EACH(test_interruptions),      TEST_OVER_EACH(test_awakenings),
        TEST_OVER_EACH(test_scarcity),           TEST_OVER_EACH(test_thread_that_comes_free),
        TEST_OVER_EACH(test_refused_connection), TEST_OVER_EACH(test_memory_is_given_back_seldom),
        TEST_OVER_EACH(test_poll_that_fails),
    };

    daemon_prepare();
    return cmocka_run_group_tests(tests, NULL, NULL);
}
