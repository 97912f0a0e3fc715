//! The same targets under libFuzzer. `FUZZ_TARGET` names one; the rest of the command line is libFuzzer's.

#![no_main]
#![allow(clippy::expect_used, clippy::disallowed_methods, reason = "a program for developers")]

use fuzz::Target;
use libfuzzer_sys::fuzz_target;
use std::sync::OnceLock;

fn chosen() -> &'static Target {
    static CHOSEN: OnceLock<&'static Target> = OnceLock::new();
    CHOSEN.get_or_init(|| {
        let name = std::env::var("FUZZ_TARGET").expect("FUZZ_TARGET names a target of `fuzz list`");
        fuzz::target(&name).expect("FUZZ_TARGET names a target of `fuzz list`")
    })
}

fuzz_target!(|data: &[u8]| {
    let _ = (chosen().check)(data);
});
