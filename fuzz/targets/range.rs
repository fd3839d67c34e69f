//! A Range field: whatever it is, no range leaves the file.
#![no_main]

use bindery_server::handler::static_files::range::{Ranges, parse};
use libfuzzer_sys::fuzz_target;

fuzz_target!(|input: (u64, &[u8])| {
    let (length, value) = input;
    let ranges = match parse(value, length) {
        Ranges::One(range) => vec![range],
        Ranges::Many(ranges) => ranges,
        Ranges::Ignored | Ranges::Unsatisfiable => return,
    };
    let mut all = 0;
    for range in &ranges {
        assert!(range.length() > 0);
        let end = range.first().checked_add(range.length()).expect("an end");
        assert!(end <= length);
        assert!(range.content_range(length).ends_with(&format!("/{length}")));
        all += range.length();
    }
    assert!(all <= length, "a byte is sent twice");
});
