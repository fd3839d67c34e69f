//! What netsh prints and takes: read or named by a line of it, and what was read printed back.
#![no_main]

use bindery_iis::netsh::{
    grammar,
    records::{Records, parse_output},
    sslcert::table,
};
use libfuzzer_sys::fuzz_target;

fuzz_target!(|text: &str| {
    let (records, unread) = parse_output(text);
    let lines = text.lines().count().max(1);
    assert!(unread.iter().all(|own| (1..=lines).contains(&own.line)));
    let stored = serde_json::to_string(&records).expect("records are written");
    assert_eq!(serde_json::from_str::<Records>(&stored).expect("records are read"), records);
    let (again, _) = parse_output(&table(records.iter()));
    assert!(again.iter().map(|record| &record.key).eq(records.iter().map(|record| &record.key)));
    let words: Vec<_> = text.split_whitespace().map(str::to_owned).collect();
    drop(grammar::parse(&words));
});
