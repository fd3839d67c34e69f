//! The path of a request: refused, or one that cannot leave the root.
#![no_main]

use bindery_server::handler::static_files::path::parse;
use libfuzzer_sys::fuzz_target;

fuzz_target!(|raw: &[u8]| {
    let Ok(path) = parse(raw) else { return };
    let decoded = path.decoded();
    assert!(decoded.starts_with(b"/"));
    assert!(!decoded.iter().any(|byte| matches!(byte, 0 | b'\\')));
    assert!(!path.relative().starts_with(b"/"));
    let names = decoded.split(|byte| *byte == b'/').skip(1);
    for (place, name) in names.enumerate() {
        let hidden = name.first() == Some(&b'.');
        assert!(!hidden || (place == 0 && name == b".well-known"), "{raw:?}");
    }
    assert_eq!(path.clone().into_owned().decoded(), path.decoded());
});
