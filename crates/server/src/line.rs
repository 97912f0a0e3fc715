//! The line over the wire: its settings, its figures with their history, and its series for Prometheus.
//!
//! The figures are `model::line`'s; `figures` turns them into the three numbers, `handlers` answers requests, `metrics`
//! writes the series, and `paths` reads paths of channels for whoever wants to compare models of attribution.

mod figures;
mod handlers;
mod metrics;
pub(crate) mod paths;
pub(crate) mod types;

use figures::total;
pub(crate) use handlers::{By, Reading, get_settings, rate_nano, rate_text, read, set_settings};
pub(crate) use metrics::write_metrics;
