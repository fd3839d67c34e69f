//! A file that an administrator names as a certificate: PFX, PEM or DER, whatever is in it.
#![no_main]

use std::{cell::RefCell, io::Write as _};

use bindery_server::tls::keys::{CertificateFiles, load};
use libfuzzer_sys::fuzz_target;
use tempfile::NamedTempFile;

thread_local! {
    static FILE: RefCell<NamedTempFile> = RefCell::new(NamedTempFile::new().expect("a file"));
}

fuzz_target!(|bytes: &[u8]| {
    FILE.with_borrow_mut(|file| {
        file.as_file().set_len(0).expect("a file of ours");
        std::io::Seek::rewind(file).expect("a file of ours");
        file.write_all(bytes).expect("a file of ours");
        let path = file.path().to_owned();
        let files = CertificateFiles { file: path, key: None, password_file: None };
        if let Err(error) = load(&files) {
            drop(error.to_string());
        }
    });
});
