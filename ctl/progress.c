#include "ctl/progress.h"

#include <signal.h>
#include <stdio.h>
#include <string.h>
#include <sys/ioctl.h>
#include <sys/stat.h>
#include <unistd.h>
#include "lib/clock.h"

#define GAP	  (USEC_PER_SEC / 10)
#define WIDTH_MAX 400
#define BAR_MIN	  8
#define CLEAR	  "\r\033[K"

static volatile sig_atomic_t shown; /* there is one terminal */

void progress_init(struct progress *p, bool on, int input)
{
	off_t at = lseek(input, 0, SEEK_CUR);
	struct stat st;

	*p = (struct progress){ .on = on, .begun = clock_now() };
	p->next = p->begun + GAP; /* what is done at once needs no bar */
	if (at >= 0 && fstat(input, &st) == 0 && S_ISREG(st.st_mode) && st.st_size > at)
		p->total = (uint64_t)(st.st_size - at);
}

static int width(void)
{
	struct winsize w;

	if (ioctl(STDERR_FILENO, TIOCGWINSZ, &w) < 0 || w.ws_col < 20)
		return 79;
	return w.ws_col < WIDTH_MAX ? w.ws_col - 1 : WIDTH_MAX - 1;
}

/* As wide as there is room beside `beside` columns of text; without room only a percentage. */
static void show_bar(char *buf, size_t size, double share, int beside)
{
	static const char signs[] = "########################################";
	int most = (int)sizeof(signs) - 1, room = width() - beside - 8;
	int wide = room < most ? room : most, full = (int)(share * wide);

	if (wide < BAR_MIN)
		snprintf(buf, size, "%3d%% ", (int)(share * 100));
	else
		snprintf(buf, size, "%3d%% [%.*s%*s] ", (int)(share * 100), full, signs,
			 wide - full, "");
}

static void show_time(char *buf, size_t size, double seconds)
{
	int64_t s = seconds < 1e9 ? (int64_t)seconds : 1000000000;

	if (s >= 3600)
		snprintf(buf, size, "%lld:%02d:%02d", (long long)s / 3600, (int)(s / 60 % 60),
			 (int)(s % 60));
	else
		snprintf(buf, size, "%d:%02d", (int)(s / 60), (int)(s % 60));
}

static void show_line(const struct progress *p, const struct progress_now *now, char *buf,
		      size_t size)
{
	double seconds = (double)(clock_now() - p->begun) / (double)USEC_PER_SEC;
	double share = p->total ? (double)now->bytes / (double)p->total : 0;
	char bar[80] = "", text[160], failed[40] = "", eta[48] = "", left[24];

	if (share > 1) /* the file grows meanwhile */
		share = 1;
	if (now->failed)
		snprintf(failed, sizeof(failed), ", %llu failed", (unsigned long long)now->failed);
	if (p->total && now->bytes) {
		show_time(left, sizeof(left), seconds / share - seconds);
		snprintf(eta, sizeof(eta), ", ETA %s", left);
	}
	snprintf(text, sizeof(text), "%llu done%s, %.0f/s%s", (unsigned long long)now->done, failed,
		 seconds > 0 ? (double)now->done / seconds : 0, eta);
	if (p->total)
		show_bar(bar, sizeof(bar), share, (int)strlen(text));
	snprintf(buf, size, "%s%s", bar, text);
}

void progress_draw(struct progress *p, const struct progress_now *now)
{
	char line[WIDTH_MAX], text[WIDTH_MAX + 16];
	int n;

	if (!p->on || clock_now() < p->next)
		return;
	show_line(p, now, line, sizeof(line));
	n = snprintf(text, sizeof(text), CLEAR "%.*s", width(), line);
	shown = 1; /* before it is: an interrupt may come as soon as it stands there */
	if (write(STDERR_FILENO, text, (size_t)n) < 0)
		p->on = false; /* nobody looks any more */
	p->next = clock_now() + GAP;
}

void progress_clear_in_handler(void)
{
	if (shown && write(STDERR_FILENO, CLEAR, strlen(CLEAR)) < 0)
		return;
	shown = 0;
}

void progress_clear(struct progress *p)
{
	if (p->on)
		progress_clear_in_handler();
}

int progress_wait(const struct progress *p)
{
	int64_t left = p->next - clock_now();

	if (!p->on)
		return -1;
	return left > 0 ? (int)(left / USEC_PER_MSEC) + 1 : 0;
}
