/* SPDX-License-Identifier: MIT
 *
 * jinja_date.c - strftime_now: a given day, at 00:00:00, in English. Contract: jinja_parts.h.
 * Tests: tests/test_jinja.c.
 */
#include "host/text/jinja/jinja.h"
#include "host/text/jinja/jinja_parts.h"

#include <stdio.h>

static const char *const months[] = {"January", "February", "March", "April", "May", "June", "July",
	"August", "September", "October", "November", "December"};
static const char *const days[] = {"Sunday", "Monday", "Tuesday", "Wednesday", "Thursday", "Friday",
	"Saturday"};

struct day {
	int year, month, day; /* months from 1 */
	int of_year, of_week; /* from 1; from 0, a Sunday */
};

static bool is_leap(int year)
{
	return year % 4 == 0 && (year % 100 != 0 || year % 400 == 0);
}

static bool read_day(const char *date, struct day *out)
{
	static const int lengths[] = {31, 28, 31, 30, 31, 30, 31, 31, 30, 31, 30, 31};
	static const char form[] = "dddd-dd-dd";
	int before;

	for (size_t i = 0; i < sizeof form; i++)
		if (form[i] == 'd' ? date[i] < '0' || date[i] > '9' : date[i] != form[i])
			return false;
	if (sscanf(date, "%4d-%2d-%2d", &out->year, &out->month, &out->day) != 3 || out->year < 1 ||
		out->month < 1 || out->month > 12 || out->day < 1 ||
		out->day > lengths[out->month - 1] + (out->month == 2 && is_leap(out->year)))
		return false;
	out->of_year = out->day + (out->month > 2 && is_leap(out->year));
	for (int i = 0; i + 1 < out->month; i++)
		out->of_year += lengths[i];
	before = out->year - 1; /* years since the first, which began on a Monday */
	out->of_week = (before * 365 + before / 4 - before / 100 + before / 400 + out->of_year) % 7;
	return true;
}

bool jinja_is_date(const char *text)
{
	struct day day;

	return read_day(text, &day);
}

static int add_part(struct jinja_run *r, struct text *to, char part, const struct day *day,
	bool padded)
{
	const char *month = months[day->month - 1], *weekday = days[day->of_week];
	char text[32];
	int n;

	switch (part) {
	case 'Y':
		n = snprintf(text, sizeof text, "%d", day->year);
		break;
	case 'y':
		n = snprintf(text, sizeof text, padded ? "%02d" : "%d", day->year % 100);
		break;
	case 'm':
		n = snprintf(text, sizeof text, padded ? "%02d" : "%d", day->month);
		break;
	case 'd':
		n = snprintf(text, sizeof text, padded ? "%02d" : "%d", day->day);
		break;
	case 'e':
		n = snprintf(text, sizeof text, padded ? "%2d" : "%d", day->day);
		break;
	case 'j':
		n = snprintf(text, sizeof text, padded ? "%03d" : "%d", day->of_year);
		break;
	case 'B':
		n = snprintf(text, sizeof text, "%s", month);
		break;
	case 'b':
	case 'h':
		n = snprintf(text, sizeof text, "%.3s", month);
		break;
	case 'A':
		n = snprintf(text, sizeof text, "%s", weekday);
		break;
	case 'a':
		n = snprintf(text, sizeof text, "%.3s", weekday);
		break;
	case 'w':
		n = snprintf(text, sizeof text, "%d", day->of_week);
		break;
	case 'u':
		n = snprintf(text, sizeof text, "%d", day->of_week ? day->of_week : 7);
		break;
	case 'H':
	case 'M':
	case 'S':
		n = snprintf(text, sizeof text, padded ? "00" : "0");
		break;
	case 'I':
		n = snprintf(text, sizeof text, "12");
		break;
	case 'p':
		n = snprintf(text, sizeof text, "AM");
		break;
	case 'F':
		n = snprintf(text, sizeof text, "%d-%02d-%02d", day->year, day->month, day->day);
		break;
	case 'D':
	case 'x':
		n = snprintf(text, sizeof text, "%02d/%02d/%02d", day->month, day->day,
			day->year % 100);
		break;
	case 'T':
	case 'X':
		n = snprintf(text, sizeof text, "00:00:00");
		break;
	case 'R':
		n = snprintf(text, sizeof text, "00:00");
		break;
	case '%':
		n = snprintf(text, sizeof text, "%%");
		break;
	case 'n':
	case 't':
		n = snprintf(text, sizeof text, "%c", part == 'n' ? '\n' : '\t');
		break;
	default:
		if (part > ' ' && part < 0x7f)
			return jinja_refuse(r, "strftime_now: the part '%%%c'", part);
		return jinja_refuse(r, "strftime_now: a part that is no letter");
	}
	return jinja_add(r, to, text, (size_t)n);
}

int jinja_strftime(struct jinja_run *r, struct jinja_string format, struct jinja_value *out)
{
	struct text text = {0};
	struct day day;

	if (!r->date)
		return jinja_fail(r, "the template calls strftime_now, for which there is no "
				     "date");
	if (!read_day(r->date, &day))
		return jinja_fail(r, "strftime_now: expected a date YYYY-MM-DD, found '%s'",
			r->date);
	for (size_t i = 0; i < format.n; i++) {
		bool padded = true;

		if (format.s[i] != '%') {
			TRY(jinja_add(r, &text, format.s + i, 1));
			continue;
		}
		if (i + 1 < format.n && format.s[i + 1] == '-') {
			padded = false;
			i++;
		}
		if (++i == format.n) {
			jinja_refuse(r, "strftime_now: a format that ends in '%%'");
			goto fail;
		}
		TRY(add_part(r, &text, format.s[i], &day, padded));
	}
	return jinja_finish(r, &text, out);
fail:
	free(text.data);
	return r->err->code;
}
