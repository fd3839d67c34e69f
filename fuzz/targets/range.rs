//! A Range field: whatever it is, no range leaves the file.
#![no_main]

use bindery_server::handler::static_files::range::{Ranges, parse};
use libfuzzer_sys::fuzz_target;

fuzz_target!(|input: (u64, &[u8])| {
    let (length, value) = input;
    if let Ranges::One(range) = parse(value, length) {
        assert!(range.length() > 0);
        let end = range.first().checked_add(range.length()).expect("an end");
        assert!(end <= length);
        assert!(range.content_range(length).ends_with(&format!("/{length}")));
    }
});
