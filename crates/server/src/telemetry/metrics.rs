//! What traces cost and lose, for Prometheus.

use crate::api::Context;
use std::fmt::Write as _;
use std::sync::atomic::Ordering::Relaxed;

/// Appends the series. While no endpoint is set there are none.
pub(crate) fn write_metrics(context: &Context, text: &mut String) {
    let Some(traces) = &context.traces else { return };
    let counters = &traces.outbox.counters;
    for (name, help, counter) in [
        ("throughline_traces_total", "Requests that were followed, since the start.", &traces.followed),
        (
            "throughline_traces_over_rate_total",
            "Requests and deliveries that were to be followed and were not, because of the rate, since the start.",
            &traces.over_rate,
        ),
        (
            "throughline_trace_spans_exported_total",
            "Spans that the collector took, since the start.",
            &counters.exported,
        ),
        (
            "throughline_trace_spans_dropped_total",
            "Spans that were lost: no room in the queue, or the collector did not take them, since the start.",
            &counters.dropped,
        ),
        (
            "throughline_trace_export_failures_total",
            "Requests to the collector that failed, since the start.",
            &counters.failures,
        ),
    ] {
        let value = counter.load(Relaxed);
        let _ = write!(text, "# HELP {name} {help}\n# TYPE {name} counter\n{name} {value}\n");
    }
}
