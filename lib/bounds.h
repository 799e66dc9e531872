/* Every bound that crewd keeps, in one place. Sizes are bytes unless said otherwise. */
#ifndef CREW_BOUNDS_H
#define CREW_BOUNDS_H

#define CREW_NAME_MAX	      64		/* characters of a name, without its NUL */
#define CREW_MESSAGE_MAX      (1024 * 1024)	/* one call, without its NUL */
#define CREW_NESTING_MAX      64		/* objects and arrays inside one another */
#define CREW_SOCKET_PATH_MAX  107		/* characters: what bind(2) takes */
#define CREW_CONNECTIONS_MAX  1024		/* clients at a time ... */
#define CREW_CONNECTIONS_KEPT 64		/* ... of which kept for root and crewd's own uid */
#define CREW_OUTPUT_MAX	      (4 * 1024 * 1024) /* waiting for one client */
#define CREW_OUTPUT_MARK      (256 * 1024)	/* above it a stream's producer pauses */
#define CREW_BACKLOG	      512		/* of listen(2) */
#define CREW_LOG_RING	      65536		/* last output kept of each worker */
#define CREW_LOG_LINE_MAX     8192		/* longest line handed on as one; then it is cut */
#define CREW_WORKERS_MAX      32768		/* slots: workers of all pools together */
#define CREW_POOLS_MAX	      4096
#define CREW_RUN_FINISHED_MAX 1000		  /* finished `run` workers that are remembered */
#define CREW_CONF_FILE_MAX    (1024 * 1024)	  /* one configuration file */
#define CREW_CONF_FILES_MAX   256		  /* files read for one configuration */
#define CREW_CONF_MAX	      (16 * 1024 * 1024)  /* a checked snapshot */
#define CREW_CONF_ERRORS_MAX  65536		  /* text of all errors of one configuration */
#define CREW_RUN_SPEC_MAX     (2 * 1024 * 1024)	  /* snapshot of one `run` worker */
#define CREW_GLOB_MAX	      256		  /* characters of a name with wildcards ... */
#define CREW_GLOBS_MAX	      64		  /* ... and how many of them a call may have */
#define CREW_ARGS_MAX	      4096		  /* strings of a command, or of an environment */
#define CREW_TASK_ARGS_MAX    65536		  /* arguments of one `exec` task ... */
#define CREW_TASK_ARGS_SIZE   (1024 * 1024)	  /* ... together, each with its NUL */
#define CREW_TASKS_MAX	      10000000		  /* that may wait in one pool */
#define CREW_TASKS_LIFE_MAX   1000000000	  /* done by one worker before it is replaced */
#define CREW_RETRIES_MAX      1000		  /* of one task */
#define CREW_PREFETCH_MAX     100000		  /* tasks ahead of one worker's answers */
#define CREW_TASK_TABLE_MAX   1000000		  /* tasks of all pools, ended ones too ... */
#define CREW_TASK_BYTES_MAX   (512 * 1024 * 1024) /* ... and the memory they take */
#define CREW_QUEUES_MAX	      4096
#define CREW_QUEUES_SHARED_MAX                                                                     \
	256 /* of them in shared memory: the keeper holds a descriptor of each */
#define CREW_QUEUE_ITEMS_MAX  10000000		   /* `maxsize` of one queue */
#define CREW_QUEUE_BYTES_MAX  (512 * 1024 * 1024L) /* memory that the items of all queues take */
#define CREW_QUEUE_HELD_MAX   (256 * 1024 * 1024L) /* memory of items that wait to be put */
#define CREW_QUEUE_MANY_MAX   10000		   /* items of one GetMany or PutMany */
#define CREW_REDIS_LIST_MAX   4096		   /* values of one answer of redis ... */
#define CREW_REDIS_ANSWER_MAX (4 * 1024 * 1024) /* ... and what is read of one that is not whole */
#define CREW_DELIVERIES_MAX   1000000		/* of one item */
#define CREW_RESULT_MAX	      (1024 * 1024)	/* result of one task */
#define CREW_TEMPLATE_ENVIRONMENT_MAX 49152 /* what a pool adds to its template's environment */
#define CREW_TEMPLATE_MESSAGE_MAX     65536 /* one word to or from a template */
#define CREW_TEMPLATE_RESTARTS	      3	    /* restart-limit of templates that do not say */
#define CREW_JOURNAL_SEGMENT  (1024 * 1024)	/* a journal's segment is at least so large */
#define CREW_JOURNAL_QUEUE    (4 * 1024 * 1024) /* waiting for the disk, of one journal */

#endif
