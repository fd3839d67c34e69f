//! The bytes of an HTTP/1 connection: however they are cut, the same is handed on.
#![no_main]

use bindery_server::http::framing::{Framing, Passed};
use libfuzzer_sys::fuzz_target;

fn handed_on<'a>(parts: impl Iterator<Item = &'a [u8]>) -> (Vec<u8>, bool) {
    let (mut framing, mut out) = (Framing::http1(), Vec::new());
    for part in parts {
        match framing.take(part) {
            Passed::Prefix(good) => out.extend_from_slice(&part[..good]),
            Passed::Held(good) => out.extend_from_slice(&good),
        }
    }
    (out, framing.refused().is_some())
}

fuzz_target!(|input: (u8, &[u8])| {
    let (length, bytes) = input;
    let whole = handed_on(std::iter::once(bytes));
    assert!(bytes.starts_with(&whole.0));
    assert_eq!(handed_on(bytes.chunks(usize::from(length).max(1))), whole);
    let again = handed_on(std::iter::once(&whole.0[..]));
    assert_eq!(again, (whole.0, false));
});
