/* Goal: what is written can be read by Prometheus whatever names and numbers come in. Method:
 * samples against their texts; labels with every byte. */
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>
#include <stdlib.h>

#include <cmocka.h>

#include "broker/exposition.h"

static void assert_text(const struct buf *buf, const char *want)
{
    assert_int_equal(buf->err, ERR_OK);
    assert_int_equal(buf->len, strlen(want));
    assert_memory_equal(buf->data, want, buf->len);
}

static void test_samples(void **state)
{
    (void)state;
    struct buf buf;
    struct exposition_labels labels;
    buf_init(&buf, BUF_NO_LIMIT);
    exposition_labels_init(&labels);
    exposition_family(&buf, "a_total", EXPOSITION_COUNTER, "How many.");
    exposition_i64(&buf, "a_total", NULL, INT64_MIN);
    exposition_label(&labels, "topic", STR("x"));
    exposition_label_i64(&labels, "partition", 12);
    exposition_i64(&buf, "a_total", &labels, INT64_MAX);
    exposition_labels_reset(&labels);
    exposition_i64(&buf, "a_total", &labels, 0);
    exposition_f64(&buf, "b", NULL, 0.25);
    exposition_f64(&buf, "b", NULL, 1.0 / 0.0);
    exposition_f64(&buf, "b", NULL, -1.0 / 0.0);
    exposition_f64(&buf, "b", NULL, __builtin_nan(""));
    assert_text(&buf, "# HELP a_total How many.\n# TYPE a_total counter\n"
                      "a_total -9223372036854775808\n"
                      "a_total{topic=\"x\",partition=\"12\"} 9223372036854775807\n"
                      "a_total 0\nb 0.25\nb +Inf\nb -Inf\nb NaN\n");
    exposition_labels_deinit(&labels);
    buf_deinit(&buf);
}

static void test_label_values(void **state)
{
    (void)state;
    static const struct {
        struct str value;
        const char *want;
    } cases[] = {
        {STR(""), "k=\"\""},
        {STR("a\"b\\c\nd\re"), "k=\"a\\\"b\\\\c\\nd\re\""},
        {STR("gr\xc3\xbc\xc3\x9f"), "k=\"gr\xc3\xbc\xc3\x9f\""},
        {STR("bad\xc3(\xff"), "k=\"bad\xef\xbf\xbd(\xef\xbf\xbd\""},
    };
    struct exposition_labels labels;
    exposition_labels_init(&labels);
    for (size_t i = 0; i < sizeof(cases) / sizeof(cases[0]); i++) {
        exposition_labels_reset(&labels);
        exposition_label(&labels, "k", cases[i].value);
        assert_text(&labels.text, cases[i].want);
    }
    exposition_labels_deinit(&labels);
}

/* A label that is too long costs that sample, not the program. */
static void test_label_limit(void **state)
{
    (void)state;
    struct exposition_labels labels;
    static char huge[100000];
    memset(huge, 'x', sizeof(huge));
    exposition_labels_init(&labels);
    exposition_label(&labels, "k", (struct str){huge, sizeof(huge)});
    assert_int_equal(labels.text.err, ERR_LIMIT);
    exposition_labels_deinit(&labels);
}

static void test_histogram(void **state)
{
    (void)state;
    static struct histogram histogram;
    struct exposition_labels labels;
    struct buf buf;
    buf_init(&buf, BUF_NO_LIMIT);
    exposition_labels_init(&labels);
    exposition_label(&labels, "request", STR("Fetch"));
    histogram_add(&histogram, 1000);
    histogram_add(&histogram, 20000);
    histogram_add(&histogram, UINT64_C(60000000000));
    exposition_histogram(&buf, "t_seconds", &labels, &histogram);
    buf_put_u8(&buf, 0);
    const char *text = (const char *)buf.data;
    assert_non_null(strstr(text, "t_seconds_bucket{request=\"Fetch\",le=\"1.6384e-05\"} 1\n"));
    assert_non_null(strstr(text, "t_seconds_bucket{request=\"Fetch\",le=\"3.2768e-05\"} 2\n"));
    assert_non_null(strstr(text, "t_seconds_bucket{request=\"Fetch\",le=\"17.179869184\"} 2\n"));
    assert_non_null(strstr(text, "t_seconds_bucket{request=\"Fetch\",le=\"+Inf\"} 3\n"));
    assert_non_null(strstr(text, "t_seconds_sum{request=\"Fetch\"} 60.000021\n"));
    assert_non_null(strstr(text, "t_seconds_count{request=\"Fetch\"} 3\n"));
    exposition_labels_deinit(&labels);
    buf_deinit(&buf);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(test_samples),
        cmocka_unit_test(test_label_values),
        cmocka_unit_test(test_label_limit),
        cmocka_unit_test(test_histogram),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
