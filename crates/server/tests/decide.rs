//! After a purchase's 200 the person is suppressed, whichever of the person's identifiers is asked about. Some purchases
//! here; `tests/proof/decide.sh` makes many.

use clap::Parser;
use server::bench::{BenchArgs, measure};

#[derive(Parser)]
struct Arguments {
    #[command(flatten)]
    bench: BenchArgs,
}

#[test]
fn a_purchase_is_never_unsuppressed_after_its_200() {
    let binary = env!("CARGO_BIN_EXE_throughline");
    let arguments = Arguments::parse_from(["test", "decide", "--purchases", "500", "--binary", binary]);
    let report = measure(&arguments.bench).unwrap();
    println!("{}", report.table());
    assert_eq!(report.value("purchases_not_suppressed"), Some(0.0));
    // Nobody was suppressed before buying: the answers came from the purchases.
    assert_eq!(report.value("suppressed_too_early"), Some(0.0));
    report.promises().unwrap();
    assert_eq!(report.value("purchases"), Some(500.0));
    assert!(report.value("purchases_before_a_merge").unwrap() > 10.0);
}
