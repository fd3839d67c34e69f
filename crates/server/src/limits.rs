//! Every bound on what a peer can grow, each with its reason and with what happens when it is
//! reached. Relations between bounds are checked when the code is compiled.

use std::time::Duration;

/// Threads for work that may block (files, keys). Further work waits in line.
pub const BLOCKING_THREADS_MAX: usize = 64;

// Static files.

/// Bytes of a request's path before decoding. RFC 9110, 4.1 asks for at least 8,000 octets; longer
/// ones are answered with 414.
pub const PATH_BYTES_MAX: usize = 8 * 1024;

/// Larger files are not kept in memory but streamed. 64 KiB hold nearly all pages, styles and
/// scripts, and one of them is no more than one chunk of a stream.
pub const CACHED_FILE_BYTES_MAX: usize = 64 * 1024;

/// Content, names and bookkeeping of all files kept in memory, over all sites. The least used give
/// way.
pub const FILE_CACHE_BYTES_MAX: u64 = 64 * 1024 * 1024;

/// What one cached file is counted with beside its content and its name: four header values, the
/// maps and reference counts around them.
pub const CACHED_FILE_OVERHEAD_BYTES: u64 = 768;

/// A file seen unchanged is believed to be so for that long, and so is the place of a root folder.
/// Nobody who saves a file and reloads a page notices 5 ms, and at 100,000 requests a second it
/// turns 500 checks into one.
pub const FILE_VERIFIED_FOR: Duration = Duration::from_millis(5);

/// A file whose time stamps are younger than that when it is read may change again without a new
/// stamp: file systems count in ticks of up to 2 s (FAT). Until then its entity tag is weak and a
/// copy in memory is read again instead of being compared.
pub const FILE_SETTLED_AFTER: Duration = Duration::from_secs(2);

/// Bytes read at once from a file that is streamed; what one slow reader holds is a few of them.
pub const FILE_CHUNK_BYTES: usize = 64 * 1024;

/// Ranges in one `Range` field. More are ignored, as RFC 9110, 14.2 allows: the answer is the whole.
pub const RANGES_MAX: usize = 16;

/// Times a file is opened again when the kernel says that a rename came between (openat2, EAGAIN).
pub const FILE_OPEN_ATTEMPTS_MAX: usize = 8;

/// Times a file that changes under the reader is read again before it is streamed instead.
pub const FILE_READ_ATTEMPTS_MAX: usize = 3;

const _: () = assert!((CACHED_FILE_BYTES_MAX as u64) < FILE_CACHE_BYTES_MAX / 64);
