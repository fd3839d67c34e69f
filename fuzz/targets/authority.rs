//! The Host field and `:authority`: refused, or a host that reads the same again.
#![no_main]

use bindery_server::http::authority::parse;
use libfuzzer_sys::fuzz_target;

fuzz_target!(|text: &str| {
    if let Ok(host) = parse(text) {
        assert_eq!(parse(&host.to_string()).expect("what was read is a host"), host);
        assert!(!text.contains('@'), "user information is refused");
    }
});
