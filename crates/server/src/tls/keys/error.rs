//! What can be wrong with a certificate on disk. Each message names the file; none repeats
//! anything that is in a key or a password.

use std::{io, path::PathBuf};

use super::{pem::PemError, pfx::PfxError};

/// Why a certificate cannot be used.
#[derive(Debug, thiserror::Error)]
pub enum CertificateError {
    /// A file could not be read.
    #[error("{} could not be read", path.display())]
    Read {
        /// The file.
        path: PathBuf,
        /// Why.
        source: io::Error,
    },

    /// A file is longer than [`crate::limits`] allows.
    #[error("{} has more than {bytes_max} bytes", path.display())]
    TooLarge {
        /// The file.
        path: PathBuf,
        /// How long it may be, in bytes.
        bytes_max: u64,
    },

    /// A file is not well-formed PEM.
    #[error("{} is not well-formed pem", path.display())]
    Pem {
        /// The file.
        path: PathBuf,
        /// What is wrong, with the line.
        source: PemError,
    },

    /// A PFX cannot be opened, for another reason than its password.
    #[error("{} cannot be opened as pfx", path.display())]
    Pfx {
        /// The file.
        path: PathBuf,
        /// What is wrong.
        source: PfxError,
    },

    /// There is no certificate in a file.
    #[error("there is no certificate in {}", path.display())]
    NoCertificate {
        /// The file.
        path: PathBuf,
    },

    /// A certificate in a file is broken.
    #[error("certificate {number} in {} cannot be read", path.display())]
    BrokenCertificate {
        /// The file.
        path: PathBuf,
        /// Which of the certificates in the file, from 1.
        number: usize,
    },

    /// There is no private key in a file.
    #[error("there is no private key in {}, name the file that has it with `key`", path.display())]
    NoKey {
        /// The file.
        path: PathBuf,
    },

    /// There are several private keys in a PEM file, so it is not clear which one is meant.
    #[error("there are {count} private keys in {}, keep one certificate with its key in a file", path.display())]
    ManyKeys {
        /// The file.
        path: PathBuf,
        /// How many.
        count: usize,
    },

    /// A private key is behind a password in PEM, for which there is no use here.
    #[error(
        "the private key in {} is encrypted, decrypt it with `openssl pkey -in FILE -out FILE`, \
         or use a pfx with a password file",
        path.display()
    )]
    EncryptedKey {
        /// The file.
        path: PathBuf,
    },

    /// A private key is broken.
    #[error("the private key in {} cannot be read", path.display())]
    BrokenKey {
        /// The file.
        path: PathBuf,
    },

    /// A private key is of a kind that cannot sign here.
    #[error("the private key in {} is not supported: {what}", path.display())]
    UnsupportedKey {
        /// The file.
        path: PathBuf,
        /// Its kind, in words.
        what: String,
    },

    /// The private key belongs to none of the certificates.
    #[error("the private key in {} belongs to no certificate in {}", key.display(), path.display())]
    KeyMismatch {
        /// The file with the certificates.
        path: PathBuf,
        /// The file with the key; may be the same.
        key: PathBuf,
    },

    /// A PFX has a password and none was given.
    #[error("{} has a password, name a file that holds it with `password_file`", path.display())]
    PasswordNeeded {
        /// The PFX.
        path: PathBuf,
    },

    /// The password does not open a PFX.
    #[error("the password in {} does not open {}", password_file.display(), path.display())]
    WrongPassword {
        /// The PFX.
        path: PathBuf,
        /// Where the password was taken from.
        password_file: PathBuf,
    },

    /// A password file holds something that cannot be a password.
    #[error("the password in {} is not text in utf-8", path.display())]
    PasswordNotText {
        /// The password file.
        path: PathBuf,
    },
}
