/* The protocol end to end: a real socket, a fake crew, a virtual clock. */
#include <errno.h>
#include <setjmp.h>
#include <stdarg.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/socket.h>
#include <sys/un.h>
#include <unistd.h>
#include <cmocka.h>
#include "daemon/conf.h"
#include "daemon/control.h"
#include "daemon/ledger.h"
#include "daemon/queue.h"
#include "lib/bounds.h"
#include "lib/clock.h"
#include "tests/unit/fake_crew.h"
#include "tests/unit/fake_loop.h"

static struct sockaddr_un address;
static socklen_t address_len;
static int client;
static char answer[1024 * 1024];

static int connect_client(void)
{
	int fd = socket(AF_UNIX, SOCK_STREAM | SOCK_CLOEXEC | SOCK_NONBLOCK, 0);

	assert_true(fd >= 0);
	assert_int_equal(connect(fd, (struct sockaddr *)&address, address_len), 0);
	fake_loop_turn();
	return fd;
}

static int set_up(void **state)
{
	int listener = socket(AF_UNIX, SOCK_STREAM | SOCK_CLOEXEC | SOCK_NONBLOCK, 0);

	(void)state;
	fake_crew_reset();
	assert_int_equal(ledger_init(-1), 0);
	queue_init(7);
	address = (struct sockaddr_un){ .sun_family = AF_UNIX };
	assert_int_equal(bind(listener, (struct sockaddr *)&address, sizeof(sa_family_t)), 0);
	address_len = sizeof(address);
	assert_int_equal(getsockname(listener, (struct sockaddr *)&address, &address_len), 0);
	assert_int_equal(listen(listener, 2048), 0);
	assert_int_equal(control_init(listener, getuid(), CONF_NO_ID), 0);
	client = connect_client();
	return 0;
}

static int tear_down(void **state)
{
	(void)state;
	if (client >= 0)
		close(client);
	control_close();
	queue_close();
	ledger_close();
	return 0;
}

static void send_bytes(int fd, const void *data, size_t size)
{
	assert_int_equal(send(fd, data, size, MSG_NOSIGNAL), (ssize_t)size);
	fake_loop_turn();
}

static void say(const char *call)
{
	send_bytes(client, call, strlen(call) + 1);
}

/* What has come: all frames, NUL replaced by a newline. "" when nothing has, NULL at the end. */
static const char *hear_on(int fd)
{
	size_t len = 0;
	ssize_t n;

	while ((n = recv(fd, answer + len, sizeof(answer) - 1 - len, 0)) > 0) {
		len += (size_t)n;
		fake_loop_turn();
	}
	for (size_t i = 0; i < len; i++)
		if (!answer[i])
			answer[i] = '\n';
	answer[len] = '\0';
	return len == 0 && (n == 0 || errno != EAGAIN) ? NULL : answer;
}

static void expect(const char *text)
{
	const char *heard = hear_on(client);

	assert_non_null(heard);
	assert_string_equal(heard, text);
}

static void expect_part(const char *part)
{
	const char *heard = hear_on(client);

	assert_non_null(heard);
	if (!strstr(heard, part))
		fail_msg("no %s in %s", part, heard);
}

#define EMPTY "{\"parameters\":{}}\n"

#define QUEUE(method, parameters)                                                                  \
	say("{\"method\":\"io.crewd.Queue." method "\",\"parameters\":{" parameters "}}")

static void test_queues(void **state)
{
	int other;

	(void)state;
	QUEUE("Create", "\"name\":\"q\",\"maxsize\":1");
	expect(EMPTY);
	QUEUE("Put", "\"name\":\"q\",\"item\": [ 0.1, 1e400 ] ");
	expect(EMPTY);
	QUEUE("Put", "\"name\":\"q\",\"item\":2,\"timeout\":1");
	expect("");
	other = connect_client();
	send_bytes(other, "{\"method\":\"io.crewd.Queue.Get\",\"parameters\":{\"name\":\"q\"}}",
		   sizeof("{\"method\":\"io.crewd.Queue.Get\",\"parameters\":{\"name\":\"q\"}}"));
	assert_string_equal(hear_on(other), "{\"parameters\":{\"item\":[0.1,1e400]}}\n");
	expect(EMPTY);
	QUEUE("Put", "\"name\":\"q\",\"item\":3,\"timeout\":1");
	fake_loop_advance(USEC_PER_SEC);
	expect("{\"error\":\"io.crewd.Queue.Full\",\"parameters\":{\"name\":\"q\"}}\n");
	send_bytes(other,
		   "{\"method\":\"io.crewd.Queue.Get\",\"parameters\":{\"name\":\"q\",\"lease\":"
		   "true}}",
		   sizeof("{\"method\":\"io.crewd.Queue.Get\",\"parameters\":{\"name\":\"q\","
			  "\"lease\":true}}"));
	assert_string_equal(hear_on(other),
			    "{\"parameters\":{\"item\":2,\"lease\":\"7-1\",\"deliveries\":1}}\n");
	QUEUE("Get", "\"name\":\"q\"");
	expect("");
	close(other); /* the holder is gone, and the one who waits gets it */
	fake_loop_turn();
	expect("{\"parameters\":{\"item\":2}}\n");
	QUEUE("Done", "\"lease\":\"7-1\"");
	expect("{\"error\":\"io.crewd.Queue.NoSuchLease\",\"parameters\":{\"lease\":\"7-1\"}}\n");
}

/* ---- the protocol -----------------------------------------------------------------------------
 */

static void test_service(void **state)
{
	(void)state;
	say("{\"method\":\"org.varlink.service.GetInfo\"}");
	expect_part("\"io.crewd.Worker\"");
	say("{\"method\":\"org.varlink.service.GetInterfaceDescription\","
	    "\"parameters\":{\"interface\":\"io.crewd.Pool\"}}");
	expect_part("interface io.crewd.Pool");
	say("{\"method\":\"org.varlink.service.GetInterfaceDescription\","
	    "\"parameters\":{\"interface\":\"io.crewd.None\"}}");
	expect("{\"error\":\"org.varlink.service.InterfaceNotFound\","
	       "\"parameters\":{\"interface\":\"io.crewd.None\"}}\n");
	say("{\"method\":\"io.systemd.service.Ping\",\"parameters\":{}}");
	expect(EMPTY);
}

static void test_unknown(void **state)
{
	(void)state;
	say("{\"method\":\"io.crewd.Worker.Dance\"}");
	expect("{\"error\":\"org.varlink.service.MethodNotFound\","
	       "\"parameters\":{\"method\":\"io.crewd.Worker.Dance\"}}\n");
	say("{\"method\":\"io.crewd.Opera.Sing\"}");
	expect("{\"error\":\"org.varlink.service.InterfaceNotFound\","
	       "\"parameters\":{\"interface\":\"io.crewd.Opera\"}}\n");
	say("{\"method\":\"io.systemd.service.Ping\",\"parameters\":{\"x\":1}}");
	expect_part("\"error\":\"org.varlink.service.InvalidParameter\","
		    "\"parameters\":{\"parameter\":\"x\"");
	say("{\"method\":\"io.crewd.Worker.IsAlive\"}");
	expect_part("\"parameter\":\"name\"");
	say("{\"method\":\"io.crewd.Worker.IsAlive\",\"parameters\":{\"name\":7}}");
	expect_part("\"parameter\":\"name\"");
	say("{\"method\":\"io.crewd.Manager.Subscribe\"}");
	expect("{\"error\":\"org.varlink.service.ExpectedMore\",\"parameters\":{}}\n");
}

static void test_malformed(void **state)
{
	static const char *const bad[] = {
		"",
		"{",
		"[]",
		"{}",
		"{\"method\":7}",
		"{\"method\":\"io.systemd.service.Ping\",\"more\":true,\"oneway\":true}",
		"{\"method\":\"io.systemd.service.Ping\",\"extra\":1}",
		"{\"method\":\"io.systemd.service.Ping\",\"parameters\":[]}",
	};

	(void)state;
	for (size_t i = 0; i < sizeof(bad) / sizeof(bad[0]); i++) {
		say(bad[i]);
		assert_null(hear_on(client));
		close(client);
		client = connect_client();
	}
	assert_int_equal(control_connections(), 1);
}

static void test_pipelined_and_split(void **state)
{
	static const char two[] = "{\"method\":\"io.systemd.service.Ping\"}\0"
				  "{\"method\":\"io.systemd.service.Ping\"}";

	(void)state;
	send_bytes(client, two, sizeof(two));
	expect(EMPTY EMPTY);
	for (size_t i = 0; i < sizeof(two); i++)
		send_bytes(client, two + i, 1);
	expect(EMPTY EMPTY);
}

static void test_oneway(void **state)
{
	(void)state;
	say("{\"method\":\"io.systemd.service.Ping\",\"oneway\":true}");
	say("{\"method\":\"io.crewd.Worker.Start\",\"oneway\":true,"
	    "\"parameters\":{\"name\":\"web-1\"}}");
	say("{\"method\":\"io.crewd.Worker.None\",\"oneway\":true}");
	say("{\"method\":\"io.systemd.service.Ping\"}");
	expect(EMPTY);
	assert_int_equal(fake_workers[0].starts, 1);
}

static void test_half_closed(void **state)
{
	static const char call[] = "{\"method\":\"io.crewd.Worker.Terminate\","
				   "\"parameters\":{\"name\":\"web-1\"}}";

	(void)state;
	fake_set(0, WORKER_RUNNING, 10);
	send(client, call, sizeof(call), 0);
	shutdown(client, SHUT_WR);
	fake_loop_turn();
	expect("");
	fake_ended(0, WORKER_STOPPED, 0);
	fake_loop_turn();
	expect(EMPTY);
	assert_null(hear_on(client));
}

static void test_gone_while_parked(void **state)
{
	(void)state;
	fake_set(0, WORKER_RUNNING, 10);
	say("{\"method\":\"io.crewd.Worker.Join\",\"parameters\":{\"name\":\"web-1\"}}");
	close(client);
	client = -1;
	fake_loop_turn();
	assert_int_equal(control_connections(), 0);
	fake_ended(0, WORKER_STOPPED, 0);
	fake_loop_turn();
}

/* It half-closes, is parked, and then goes: nothing can be read that would tell. */
static void test_gone_while_deaf(void **state)
{
	(void)state;
	fake_set(0, WORKER_RUNNING, 10);
	say("{\"method\":\"io.crewd.Worker.Join\",\"parameters\":{\"name\":\"web-1\"}}");
	shutdown(client, SHUT_WR);
	fake_loop_turn();
	assert_int_equal(control_connections(), 1);
	close(client);
	client = -1;
	fake_loop_advance(USEC_PER_SEC);
	assert_int_equal(control_connections(), 0);
}

static void test_call_too_long(void **state)
{
	static char much[65536];

	(void)state;
	memset(much, 'x', sizeof(much));
	for (int i = 0; i < 17; i++) {
		ssize_t n = send(client, much, sizeof(much), MSG_NOSIGNAL);

		fake_loop_turn();
		if (n < 0)
			break;
	}
	assert_int_equal(control_connections(), 0);
}

/* Whoever is nobody special may ask, and no more: shown by what judges a connection. */
static void test_reading_only(void **state)
{
	struct conn conn = { .fd = -1, .out = { .max = CREW_OUTPUT_MAX } };
	static const char stop[] = "{\"method\":\"io.crewd.Manager.Shutdown\"}";
	static const char ping[] = "{\"method\":\"io.systemd.service.Ping\"}";

	(void)state;
	assert_true(rpc_dispatch(&conn, stop, strlen(stop)));
	assert_string_equal(buf_data(&conn.out),
			    "{\"error\":\"org.varlink.service.PermissionDenied\","
			    "\"parameters\":{}}");
	buf_free(&conn.out);
	assert_int_equal(fake_shutdowns, 0);
	assert_true(rpc_dispatch(&conn, ping, strlen(ping)));
	assert_string_equal(buf_data(&conn.out), "{\"parameters\":{}}");
	buf_free(&conn.out);
}

static void test_too_many_connections(void **state)
{
	static int many[CREW_CONNECTIONS_MAX];

	(void)state;
	for (int i = 0; i < CREW_CONNECTIONS_MAX; i++)
		many[i] = connect_client();
	assert_int_equal(control_connections(), CREW_CONNECTIONS_MAX);
	assert_non_null(strstr(hear_on(many[CREW_CONNECTIONS_MAX - 1]), "io.crewd.Manager.Busy"));
	for (int i = 0; i < CREW_CONNECTIONS_MAX; i++)
		close(many[i]);
	fake_loop_turn();
	assert_int_equal(control_connections(), 1);
}

/* ---- waiting ----------------------------------------------------------------------------------
 */

static void test_is_alive(void **state)
{
	(void)state;
	fake_set(1, WORKER_RUNNING, 10);
	say("{\"method\":\"io.crewd.Worker.IsAlive\",\"parameters\":{\"name\":\"web-2\"}}");
	expect("{\"parameters\":{\"alive\":true}}\n");
	say("{\"method\":\"io.crewd.Worker.IsAlive\",\"parameters\":{\"name\":\"web-1\"}}");
	expect("{\"parameters\":{\"alive\":false}}\n");
	say("{\"method\":\"io.crewd.Worker.IsAlive\",\"parameters\":{\"name\":\"web\"}}");
	expect("{\"parameters\":{\"alive\":true}}\n");
	say("{\"method\":\"io.crewd.Worker.IsAlive\",\"parameters\":{\"name\":\"db\"}}");
	expect("{\"error\":\"io.crewd.Worker.NoSuchWorker\",\"parameters\":{\"name\":\"db\"}}\n");
}

static void test_start(void **state)
{
	(void)state;
	say("{\"method\":\"io.crewd.Worker.Start\",\"parameters\":{\"name\":\"web\"}}");
	assert_true(crew_pool("web")->wanted);
	for (unsigned i = 0; i < FAKE_WEB; i++) {
		assert_int_equal(fake_workers[i].starts, 1);
		expect("");
		fake_set(i, WORKER_RUNNING, 10);
		fake_loop_turn();
	}
	expect(EMPTY);
}

static void test_start_fails(void **state)
{
	(void)state;
	say("{\"method\":\"io.crewd.Worker.Start\",\"parameters\":{\"name\":\"web\"}}");
	fake_ended(2, WORKER_BACKOFF, 9); /* told although web-1 and web-2 are still starting */
	fake_loop_turn();
	expect("{\"error\":\"io.crewd.Worker.StartFailed\","
	       "\"parameters\":{\"name\":\"web-3\",\"why\":\"exited 9\"}}\n");
}

static void test_terminate(void **state)
{
	static const char two[] =
		"{\"method\":\"io.crewd.Worker.Terminate\",\"parameters\":{\"name\":\"web\"}}\0"
		"{\"method\":\"io.systemd.service.Ping\"}";

	(void)state;
	fake_set(0, WORKER_RUNNING, 10);
	fake_set(1, WORKER_RUNNING, 11);
	send_bytes(client, two, sizeof(two));
	assert_false(crew_pool("web")->wanted);
	fake_ended(0, WORKER_STOPPED, 0);
	fake_loop_turn();
	expect(""); /* and the next call is not started */
	fake_leaves(1);
	fake_loop_turn();
	expect(EMPTY EMPTY);
	fake_set(0, WORKER_RUNNING, 12);
	say("{\"method\":\"io.crewd.Worker.Terminate\","
	    "\"parameters\":{\"name\":\"web-1\",\"wait\":false}}");
	expect(EMPTY);
}

static void test_restart_one_by_one(void **state)
{
	(void)state;
	say("{\"method\":\"io.crewd.Worker.Restart\",\"parameters\":{\"name\":\"web\"}}");
	assert_int_equal(fake_workers[1].restarts, 0);
	fake_set(0, WORKER_RUNNING, 10);
	fake_loop_turn();
	assert_int_equal(fake_workers[1].restarts, 1);
	assert_int_equal(fake_workers[2].restarts, 0);
	fake_set(1, WORKER_RUNNING, 11);
	fake_loop_turn();
	fake_set(2, WORKER_RUNNING, 12);
	fake_loop_turn();
	expect(EMPTY);
	say("{\"method\":\"io.crewd.Worker.Restart\","
	    "\"parameters\":{\"name\":\"web\",\"allAtOnce\":true}}");
	assert_int_equal(fake_workers[2].restarts, 2);
	expect("");
}

static void test_join(void **state)
{
	(void)state;
	fake_set(FAKE_SLOT, WORKER_RUNNING, 10);
	say("{\"method\":\"io.crewd.Worker.Join\","
	    "\"parameters\":{\"name\":\"run-1\",\"timeout\":1.5}}");
	fake_loop_advance(USEC_PER_SEC);
	expect("");
	fake_loop_advance(USEC_PER_SEC);
	expect("{\"error\":\"io.crewd.Worker.TimedOut\",\"parameters\":{\"name\":\"run-1\"}}\n");
	say("{\"method\":\"io.crewd.Worker.Join\",\"parameters\":{\"name\":\"run-1\"}}");
	fake_ended(FAKE_SLOT, WORKER_EXITED, 5);
	fake_leaves(FAKE_SLOT); /* before anyone was told */
	fake_loop_turn();
	expect("{\"parameters\":{\"exitcode\":5,\"signal\":null,\"workers\":[{\"name\":\"run-1\","
	       "\"state\":\"exited\",\"exitcode\":5,\"signal\":null,\"why\":\"exited 5\"}]}}\n");
}

static void test_run(void **state)
{
	(void)state;
	say("{\"method\":\"io.crewd.Worker.Run\",\"parameters\":{\"command\":[\"x\"]}}");
	expect("");
	fake_set(FAKE_SLOT, WORKER_RUNNING, 77);
	fake_loop_turn();
	expect("{\"parameters\":{\"name\":\"run-1\",\"pid\":77}}\n");
	say("{\"method\":\"io.crewd.Worker.Run\","
	    "\"parameters\":{\"command\":[\"x\"],\"name\":\"web-1\"}}");
	expect_part("io.crewd.Worker.Exists");
	say("{\"method\":\"io.crewd.Worker.Run\",\"parameters\":{\"command\":[]}}");
	expect_part("\"parameter\":\"command\"");
	say("{\"method\":\"io.crewd.Worker.Run\","
	    "\"parameters\":{\"command\":[\"x\"],\"restart\":\"often\"}}");
	expect_part("\"parameter\":\"restart\"");
	say("{\"method\":\"io.crewd.Worker.Run\","
	    "\"parameters\":{\"command\":[\"x\"],\"environment\":[\"A\"]}}");
	expect_part("\"parameter\":\"environment\"");
	say("{\"method\":\"io.crewd.Worker.Forget\",\"parameters\":{\"name\":\"run-1\"}}");
	expect_part("io.crewd.Worker.StillAlive");
	fake_ended(FAKE_SLOT, WORKER_EXITED, 0);
	say("{\"method\":\"io.crewd.Worker.Forget\",\"parameters\":{\"name\":\"run-1\"}}");
	expect(EMPTY);
	say("{\"method\":\"io.crewd.Worker.Forget\",\"parameters\":{\"name\":\"web-1\"}}");
	expect_part("\"parameter\":\"name\"");
}

static void test_signal(void **state)
{
	(void)state;
	fake_set(0, WORKER_RUNNING, 10);
	say("{\"method\":\"io.crewd.Worker.Signal\","
	    "\"parameters\":{\"name\":\"web\",\"signal\":\"HUP\"}}");
	expect(EMPTY);
	assert_int_equal(fake_workers[0].signal, 1);
	assert_int_equal(fake_workers[1].signal, 0);
	say("{\"method\":\"io.crewd.Worker.Signal\","
	    "\"parameters\":{\"name\":\"web-2\",\"signal\":\"HUP\"}}");
	expect_part("io.crewd.Worker.NotAlive");
	say("{\"method\":\"io.crewd.Worker.Signal\","
	    "\"parameters\":{\"name\":\"web-1\",\"signal\":\"WAVE\"}}");
	expect_part("\"parameter\":\"signal\"");
}

static void test_list(void **state)
{
	(void)state;
	fake_ended(0, WORKER_EXITED, 3);
	say("{\"method\":\"io.crewd.Worker.List\",\"parameters\":{\"names\":[\"web-1\"]}}");
	expect("{\"parameters\":{\"workers\":[{\"name\":\"web-1\",\"pool\":\"web\","
	       "\"template\":null,\"state\":\"exited\",\"alive\":false,\"pid\":null,\"exitcode\":3,"
	       "\"signal\":null,\"restarts\":0,\"started\":null,\"uptime\":null,\"memory\":null,"
	       "\"why\":\"exited 3\"}]}}\n");
	say("{\"method\":\"io.crewd.Worker.List\",\"more\":true}");
	expect_part("\"run-1\",\"pool\":null");
	say("{\"method\":\"io.crewd.Worker.List\",\"parameters\":{\"names\":[\"no\"]}}");
	expect_part("NoSuchWorker");
}

static void test_logs(void **state)
{
	(void)state;
	fake_print("one\ntwo");
	say("{\"method\":\"io.crewd.Worker.Logs\",\"parameters\":{\"name\":\"web-1\"}}");
	expect("{\"parameters\":{\"lines\":[\"one\",\"two\"]}}\n");
	say("{\"method\":\"io.crewd.Worker.Logs\",\"more\":true,"
	    "\"parameters\":{\"name\":\"web-1\"}}");
	expect("{\"parameters\":{\"lines\":[\"one\"]},\"continues\":true}\n");
	fake_print("!");
	fake_loop_turn();
	expect_part("\"lines\":[]");
	fake_print("\n");
	fake_loop_turn();
	expect("{\"parameters\":{\"lines\":[\"two!\"]},\"continues\":true}\n");
	fake_leaves(0);
	fake_loop_turn();
	expect("{\"parameters\":{\"lines\":[]}}\n");
}

static void test_events(void **state)
{
	(void)state;
	say("{\"method\":\"io.crewd.Manager.Subscribe\",\"more\":true}");
	expect_part("\"event\":\"subscribed\"");
	fake_set(0, WORKER_STARTING, 0);
	fake_loop_turn();
	expect_part("\"worker\":\"web-1\",\"pool\":\"web\",\"state\":\"starting\","
		    "\"was\":\"stopped\",\"pid\":null");
	rpc_reloaded();
	fake_loop_turn();
	expect_part("\"event\":\"reload\"");
}

/* One that does not read loses events, and is told how many; memory does not grow. */
static void test_events_lost(void **state)
{
	const char *heard;

	(void)state;
	say("{\"method\":\"io.crewd.Manager.Subscribe\",\"more\":true}");
	for (int i = 0; i < 60000; i++)
		fake_set(0, i % 2 ? WORKER_RUNNING : WORKER_STARTING, 0);
	fake_loop_turn();
	for (int i = 0; i < 200 && (heard = hear_on(client)); i++)
		if (strstr(heard, "\"event\":\"lost\""))
			return;
	fail_msg("no word of lost events");
}

static void test_reload(void **state)
{
	static const char *const keys[] = { "workers" };
	static const struct crew_plan_row rows[] = {
		{ .kind = CREW_ADDED, .pool = "a" },
		{ .kind = CREW_CHANGED, .pool = "b", .keys = keys, .key_count = 1 },
		{ .kind = CREW_REMOVED, .pool = "c" },
	};
	static const struct crew_plan plan = { .count = 3, .rows = rows };

	(void)state;
	say("{\"method\":\"io.crewd.Manager.Reload\",\"parameters\":{\"dryRun\":true}}");
	assert_true(fake_dry_run);
	fake_reload_done(&plan, NULL);
	fake_loop_turn();
	expect("{\"parameters\":{\"added\":[\"a\"],\"changed\":[{\"pool\":\"b\",\"keys\":["
	       "\"workers\"],\"restart\":false}],\"removed\":[\"c\"],\"unchanged\":[]}}\n");
	say("{\"method\":\"io.crewd.Manager.Reload\"}");
	fake_reload_done(NULL, "f:1: bad\n");
	fake_loop_turn();
	expect("{\"error\":\"io.crewd.Manager.BadConfig\","
	       "\"parameters\":{\"errors\":\"f:1: bad\\n\"}}\n");
}

static void test_reload_outlives_client(void **state)
{
	(void)state;
	say("{\"method\":\"io.crewd.Manager.Reload\"}");
	close(client);
	fake_loop_turn();
	client = connect_client();
	say("{\"method\":\"io.crewd.Manager.Reload\"}");
	expect_part("io.crewd.Manager.Busy");
	fake_reload_done(NULL, "bad");
	fake_loop_turn();
	expect("");
}

static void test_status_and_pools(void **state)
{
	(void)state;
	say("{\"method\":\"io.crewd.Manager.GetStatus\"}");
	expect_part("\"pid\":4711,");
	say("{\"method\":\"io.crewd.Pool.Scale\",\"parameters\":{\"name\":\"web\",\"workers\":9}}");
	expect(EMPTY);
	say("{\"method\":\"io.crewd.Pool.List\"}");
	expect_part("\"name\":\"web\",\"workers\":9,\"running\":0");
	say("{\"method\":\"io.crewd.Pool.Scale\",\"parameters\":{\"name\":\"db\",\"workers\":9}}");
	expect("{\"error\":\"io.crewd.Pool.NoSuchPool\",\"parameters\":{\"name\":\"db\"}}\n");
	say("{\"method\":\"io.crewd.Manager.Shutdown\"}");
	expect(EMPTY);
	assert_int_equal(fake_shutdowns, 1);
	say("{\"method\":\"io.crewd.Worker.Start\",\"parameters\":{\"name\":\"web\"}}");
	expect_part("io.crewd.Manager.ShuttingDown");
}

int main(void)
{
	const struct CMUnitTest tests[] = {
#define T(name) cmocka_unit_test_setup_teardown(name, set_up, tear_down)
		T(test_service),
		T(test_queues),
		T(test_unknown),
		T(test_malformed),
		T(test_pipelined_and_split),
		T(test_oneway),
		T(test_half_closed),
		T(test_gone_while_parked),
		T(test_gone_while_deaf),
		T(test_call_too_long),
		T(test_reading_only),
		T(test_too_many_connections),
		T(test_is_alive),
		T(test_start),
		T(test_start_fails),
		T(test_terminate),
		T(test_restart_one_by_one),
		T(test_join),
		T(test_run),
		T(test_signal),
		T(test_list),
		T(test_logs),
		T(test_events),
		T(test_events_lost),
		T(test_reload),
		T(test_reload_outlives_client),
		T(test_status_and_pools),
	};

	return cmocka_run_group_tests(tests, NULL, NULL);
}
