//! The line's series for Prometheus.

use crate::api::Context;
use model::line::{Measure, Span, hour_of};
use std::fmt::Write as _;

/// Hours that quantiles are read over.
const QUANTILE_HOURS: i32 = 24;
const QUANTILES: [(u32, &str); 3] = [(500, "0.5"), (900, "0.9"), (990, "0.99")];

/// Appends the series. While the line is off there are none.
pub(crate) fn write_metrics(context: &Context, text: &mut String) {
    let view = context.engine.view();
    if !view.settings().line.is_on() {
        return;
    }
    let total = view.line_total();
    let _ = text.write_str(
        "# HELP throughline_line Figures of the line since it was switched on, by measure; corrections may lower them.\n# TYPE throughline_line gauge\n",
    );
    for measure in Measure::ALL {
        let _ = writeln!(text, "throughline_line{{measure=\"{}\"}} {}", measure.name(), total.get(*measure));
    }
    let now = hour_of(context.log_time()).saturating_add(1);
    let hours = view.line(now.saturating_sub(QUANTILE_HOURS)..now);
    let day = super::total(hours.iter().map(|(_, figures)| figures));
    let _ = text.write_str(
        "# HELP throughline_line_span_milliseconds Quantiles of the line's spans over the last 24 hours.\n# TYPE throughline_line_span_milliseconds gauge\n",
    );
    for span in Span::ALL {
        for (per_mille, quantile) in QUANTILES {
            if let Some(value) = day.span(span).and_then(|spread| spread.quantile(per_mille)) {
                let name = span.name();
                let _ = writeln!(
                    text,
                    "throughline_line_span_milliseconds{{span=\"{name}\",quantile=\"{quantile}\"}} {value}"
                );
            }
        }
    }
}
