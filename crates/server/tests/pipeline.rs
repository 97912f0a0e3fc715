//! The bench of the whole path runs from end to end, small: it loses nothing, and it knows every goal.

use clap::Parser;
use server::bench::{BenchArgs, measure};

#[derive(Parser)]
struct Arguments {
    #[command(flatten)]
    bench: BenchArgs,
}

#[test]
fn the_pipeline_is_measured_from_end_to_end() {
    let binary = env!("CARGO_BIN_EXE_throughline");
    let arguments = Arguments::parse_from([
        "test",
        "pipeline",
        "--seconds",
        "1",
        "--people",
        "2000",
        "--prefill-ids",
        "20000",
        "--recovery-events",
        "20000",
        "--binary",
        binary,
    ]);
    let report = measure(&arguments.bench).unwrap();
    println!("{}", report.table());
    report.promises().unwrap();
    assert_eq!(report.value("lost_events"), Some(0.0));
    for figure in ["batch_events_per_second", "single_cpu_per_event", "paced_post_p99", "recovery"] {
        assert!(report.value(figure).unwrap() > 0.0, "{figure}");
    }
}
