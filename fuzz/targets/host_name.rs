//! The name in a client hello, and what else is a host: refused, or normal and stable.
#![no_main]

use bindery_model::name::{Host, HostName, HostPattern};
use libfuzzer_sys::fuzz_target;

fuzz_target!(|text: &str| {
    if let Ok(name) = text.parse::<HostName>() {
        let normal = name.as_str();
        assert_eq!(normal.parse::<HostName>().expect("a normal name is a name"), name);
        assert_eq!(normal, normal.to_ascii_lowercase());
        assert!(normal.is_ascii() && !normal.ends_with('.') && normal.len() <= 253);
        assert!(HostPattern::Exact(name.clone()).covers(&name));
        // For people only; it must not panic.
        drop(name.to_unicode());
    }
    if let Ok(pattern) = text.parse::<HostPattern>() {
        assert_eq!(pattern.to_string().parse::<HostPattern>(), Ok(pattern));
    }
    if let Ok(host) = text.parse::<Host>() {
        assert_eq!(host.to_string().parse::<Host>(), Ok(host));
    }
});
