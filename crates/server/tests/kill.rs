//! The real binary is killed under load and started again: nothing acknowledged is lost, nothing counts twice, effects
//! keep their ids. A few rounds here; `tests/proof/kill.sh` runs many.

use clap::Parser;
use server::bench::{BenchArgs, measure};

#[derive(Parser)]
struct Arguments {
    #[command(flatten)]
    bench: BenchArgs,
}

#[test]
fn nothing_acknowledged_is_lost_over_kills() {
    let binary = env!("CARGO_BIN_EXE_throughline");
    let arguments =
        Arguments::parse_from(["test", "kill", "--rounds", "2", "--seed", "20", "--binary", binary]);
    let report = measure(&arguments.bench).unwrap();
    println!("{}", report.table());
    for promise in ["lost_events", "events_counted_twice", "effects_wrong"] {
        assert_eq!(report.value(promise), Some(0.0), "{promise}");
    }
    report.promises().unwrap();
    // A run that compared nothing proves nothing.
    assert!(report.value("acknowledged_events").unwrap() > 100.0);
    assert!(report.value("effects_compared").unwrap() > 100.0);
}
