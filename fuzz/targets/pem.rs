//! A file of certificates and keys in PEM: refused or read, and never its contents in an error.
#![no_main]

use bindery_server::tls::keys::{facts_of_der, parse_pem};
use libfuzzer_sys::fuzz_target;

fuzz_target!(|bytes: &[u8]| {
    let Ok(contents) = parse_pem(bytes) else { return };
    for certificate in &contents.certificates {
        if let Ok(facts) = facts_of_der(certificate) {
            for name in &facts.names {
                assert!(facts.covers(name) || name.starts_with("*."), "{name}");
            }
        }
    }
});
