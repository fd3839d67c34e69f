//! The text of a binding: refused with a place inside of it, or printed back the same.
#![no_main]

use bindery_model::binding::{BindingInformation, parse_listener};
use libfuzzer_sys::fuzz_target;

fuzz_target!(|text: &str| {
    match text.parse::<BindingInformation>() {
        Ok(binding) => assert_eq!(binding.to_string().parse(), Ok(binding)),
        Err(error) => assert!(text.get(error.span).is_some()),
    }
    if let Err(error) = parse_listener(text) {
        assert!(text.get(error.span).is_some());
    }
});
