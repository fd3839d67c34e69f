//! Every bound on what a peer can grow, each with its reason and with what happens when it is
//! reached. Relations between bounds are checked when the code is compiled.

/// Threads for work that may block (files, keys). Further work waits in line.
pub const BLOCKING_THREADS_MAX: usize = 64;

// Certificates and keys. These files are an administrator's, so the bounds catch mistakes (a log
// named as a certificate) and hostile imports.

/// A file with certificates or a key, in bytes. Larger ones are refused with an error.
pub const CERTIFICATE_FILE_BYTES_MAX: u64 = 1024 * 1024;

/// A file with a password, in bytes. Larger ones are refused with an error.
pub const PASSWORD_FILE_BYTES_MAX: u64 = 4096;

/// Rounds of key derivation that one PFX may ask for, all its parts together: some seconds of
/// work. Files in use have 2,000 to 600,000 in each of three parts. More is refused with an error.
pub const PFX_ROUNDS_MAX: u32 = 5_000_000;

/// Files in the folder of a central store. A folder with more is not listed, with an error.
pub const CENTRAL_FILES_MAX: usize = 1_000_000;

/// A session ticket, in bytes. What a client sends beyond it is not decrypted, and no longer one is
/// made; the client then does a full handshake.
pub const TICKET_BYTES_MAX: usize = 16 * 1024;
