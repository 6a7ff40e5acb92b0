/* Prometheus' text format: families of samples, each with a name, labels and a number.
 *
 * Writes what https://prometheus.io/docs/instrumenting/exposition_formats/ calls version 0.0.4.
 * The caller keeps a family's samples together. Failures stay in the buffer. */
#ifndef BROKER_EXPOSITION_H
#define BROKER_EXPOSITION_H

#include "base/buf.h"
#include "base/histogram.h"

#define EXPOSITION_CONTENT_TYPE "text/plain; version=0.0.4; charset=utf-8"

enum exposition_type {
    EXPOSITION_COUNTER,
    EXPOSITION_GAUGE,
    EXPOSITION_HISTOGRAM,
    EXPOSITION_SUMMARY,
};

/* Labels of a sample, as they are written between the braces. */
struct exposition_labels {
    struct buf text;
};

void exposition_labels_init(struct exposition_labels *labels);
void exposition_labels_deinit(struct exposition_labels *labels);
/* Begins anew. */
void exposition_labels_reset(struct exposition_labels *labels);
/* The value is escaped; in one that is no UTF-8 the bytes past ASCII become U+FFFD. */
void exposition_label(struct exposition_labels *labels, const char *key, struct str value);
void exposition_label_i64(struct exposition_labels *labels, const char *key, int64_t value);

void exposition_family(struct buf *buf, const char *name, enum exposition_type type,
                       const char *help);
/* `labels` NULL: none. */
void exposition_i64(struct buf *buf, const char *name, const struct exposition_labels *labels,
                    int64_t value);
void exposition_f64(struct buf *buf, const char *name, const struct exposition_labels *labels,
                    double value);
/* NAME_bucket, NAME_sum and NAME_count, in seconds. Adds to the labels and takes that back. */
void exposition_histogram(struct buf *buf, const char *name, struct exposition_labels *labels,
                          const struct histogram *histogram);

#endif
