/* Every error of the protocol: one list makes the enum, the Varlink name and crewctl's exit code.
 */
#ifndef CREW_ERRORS_H
#define CREW_ERRORS_H

enum crew_exit {
	CREW_EXIT_OK = 0,
	CREW_EXIT_FAILED = 1,
	CREW_EXIT_USAGE = 2,
	CREW_EXIT_NOT_ALIVE = 3,
	CREW_EXIT_NO_SUCH = 4,
	CREW_EXIT_NO_DAEMON = 69,
	CREW_EXIT_TRY_LATER = 75,
	CREW_EXIT_NOT_PERMITTED = 77,
	CREW_EXIT_CONFIG = 78,
	CREW_EXIT_TIME_OVER = 124,
};

/* enum name, Varlink name, crewctl's exit code */
#define CREW_ERRORS(X)                                                                             \
	X(INTERFACE_NOT_FOUND, "org.varlink.service.InterfaceNotFound", CREW_EXIT_FAILED)          \
	X(METHOD_NOT_FOUND, "org.varlink.service.MethodNotFound", CREW_EXIT_FAILED)                \
	X(METHOD_NOT_IMPLEMENTED, "org.varlink.service.MethodNotImplemented", CREW_EXIT_FAILED)    \
	X(INVALID_PARAMETER, "org.varlink.service.InvalidParameter", CREW_EXIT_USAGE)              \
	X(PERMISSION_DENIED, "org.varlink.service.PermissionDenied", CREW_EXIT_NOT_PERMITTED)      \
	X(EXPECTED_MORE, "org.varlink.service.ExpectedMore", CREW_EXIT_FAILED)                     \
	X(BAD_CONFIG, "io.crewd.Manager.BadConfig", CREW_EXIT_CONFIG)                              \
	X(MANAGER_BUSY, "io.crewd.Manager.Busy", CREW_EXIT_TRY_LATER)                              \
	X(SHUTTING_DOWN, "io.crewd.Manager.ShuttingDown", CREW_EXIT_FAILED)                        \
	X(NO_SUCH_WORKER, "io.crewd.Worker.NoSuchWorker", CREW_EXIT_NO_SUCH)                       \
	X(WORKER_TIMED_OUT, "io.crewd.Worker.TimedOut", CREW_EXIT_TIME_OVER)                       \
	X(START_FAILED, "io.crewd.Worker.StartFailed", CREW_EXIT_FAILED)                           \
	X(WORKER_NOT_ALIVE, "io.crewd.Worker.NotAlive", CREW_EXIT_NOT_ALIVE)                       \
	X(WORKER_EXISTS, "io.crewd.Worker.Exists", CREW_EXIT_FAILED)                               \
	X(WORKER_STILL_ALIVE, "io.crewd.Worker.StillAlive", CREW_EXIT_FAILED)                      \
	X(NO_RUN_USER, "io.crewd.Worker.NoRunUser", CREW_EXIT_NOT_PERMITTED)                       \
	X(TOO_MANY, "io.crewd.Worker.TooMany", CREW_EXIT_TRY_LATER)                                \
	X(NO_SUCH_POOL, "io.crewd.Pool.NoSuchPool", CREW_EXIT_NO_SUCH)                             \
	X(NO_SUCH_TASK, "io.crewd.Pool.NoSuchTask", CREW_EXIT_NO_SUCH)                             \
	X(POOL_FULL, "io.crewd.Pool.Full", CREW_EXIT_TRY_LATER)                                    \
	X(POOL_CLOSED, "io.crewd.Pool.Closed", CREW_EXIT_FAILED)                                   \
	X(POOL_STILL_RUNNING, "io.crewd.Pool.StillRunning", CREW_EXIT_FAILED)                      \
	X(POOL_TIMED_OUT, "io.crewd.Pool.TimedOut", CREW_EXIT_TIME_OVER)                           \
	X(WORKER_DIED, "io.crewd.Pool.WorkerDied", CREW_EXIT_FAILED)                               \
	X(TASK_TOO_BIG, "io.crewd.Pool.TooBig", CREW_EXIT_FAILED)                                  \
	X(TASK_BAD_ANSWER, "io.crewd.Pool.BadAnswer", CREW_EXIT_FAILED)                            \
	X(TASK_LOST, "io.crewd.Pool.Lost", CREW_EXIT_FAILED)                                       \
	X(NO_SUCH_QUEUE, "io.crewd.Queue.NoSuchQueue", CREW_EXIT_NO_SUCH)                          \
	X(NO_SUCH_LEASE, "io.crewd.Queue.NoSuchLease", CREW_EXIT_NO_SUCH)                          \
	X(QUEUE_FULL, "io.crewd.Queue.Full", CREW_EXIT_TRY_LATER)                                  \
	X(QUEUE_EMPTY, "io.crewd.Queue.Empty", CREW_EXIT_TRY_LATER)                                \
	X(QUEUE_EXISTS, "io.crewd.Queue.Exists", CREW_EXIT_FAILED)                                 \
	X(QUEUE_WRONG_KIND, "io.crewd.Queue.WrongKind", CREW_EXIT_FAILED)                          \
	X(QUEUE_TIMED_OUT, "io.crewd.Queue.TimedOut", CREW_EXIT_TIME_OVER)                         \
	X(QUEUE_TOO_MANY_DONE, "io.crewd.Queue.TooManyDone", CREW_EXIT_FAILED)                     \
	X(QUEUE_UNAVAILABLE, "io.crewd.Queue.BackendUnavailable", CREW_EXIT_TRY_LATER)

enum crew_error {
	CREW_OK,
#define X(name, varlink, code) CREW_ERROR_##name,
	CREW_ERRORS(X)
#undef X
		CREW_ERROR_COUNT
};

const char *crew_error_name(enum crew_error e); /* Varlink name; NULL for CREW_OK */
/* Exit code of crewctl for an error's Varlink name; CREW_EXIT_FAILED for one not known. */
int crew_error_exit(const char *varlink_name);

#endif
