//! Every bound on what a peer can grow, each with its reason and with what happens when it is
//! reached. Relations between bounds are checked when the code is compiled.

use std::time::Duration;

/// Threads for work that may block (files, keys). Further work waits in line.
pub const BLOCKING_THREADS_MAX: usize = 64;

/// What was written and not yet sent on one connection; further writes wait for the peer.
pub const UNSENT_BYTES_MAX: usize = 64 * 1024;

/// One read from a socket without TLS; more is read in the next turn.
pub const PLAIN_READ_BYTES: usize = 8 * 1024;

/// From the connection to the end of the handshake. Who takes longer is idle or hostile.
pub const HANDSHAKE_TIMEOUT: Duration = Duration::from_secs(15);

/// From the first byte of a request head to its last. Later the connection is closed.
pub const REQUEST_HEAD_TIMEOUT: Duration = Duration::from_secs(30);

/// A kept connection without a request is closed after this.
pub const KEEP_ALIVE_TIMEOUT: Duration = Duration::from_secs(70);

/// A connection with a request under way on which no byte moves in either direction is closed
/// after this: the peer does not take its answer.
pub const STALL_TIMEOUT: Duration = Duration::from_secs(60);

/// An HTTP/1.1 connection on which nothing moves for so long gives its buffers back, most of what
/// it costs. The time doubles whenever it turns out to be busy, up to [`BUFFERS_KEPT_MAX`].
pub const BUFFERS_KEPT_MIN: Duration = Duration::from_millis(50);

/// A busy connection that falls silent gives its buffers back after this.
pub const BUFFERS_KEPT_MAX: Duration = Duration::from_secs(2);

/// How often a connection looks at its clocks. They are late by this much at most.
pub const CONNECTION_TICK: Duration = Duration::from_secs(5);

/// Content that no handler reads is read and dropped up to this, so that the connection can go on
/// with the next request. With more of it the connection ends after the answer.
pub const UNWANTED_CONTENT_BYTES_MAX: usize = 64 * 1024;

/// For so long unwanted content is read and dropped, before an answer and again after the last.
pub const LINGER_TIMEOUT: Duration = Duration::from_secs(2);

/// A request head on HTTP/1.1, request line and fields together. Longer ones are answered 431.
pub const REQUEST_HEAD_BYTES_MAX: usize = 32 * 1024;

/// The number of fields of a request. More are answered 431.
pub const REQUEST_FIELDS_MAX: usize = 100;

/// The fields of a request on HTTP/2, counted as HPACK counts (RFC 7541, 4.1: 32 bytes more for
/// each field).
pub const HTTP2_HEADER_LIST_BYTES_MAX: u32 = 32 * 1024;

/// Requests under way on one HTTP/2 connection; further ones are refused (RFC 9113, 5.1.2).
pub const HTTP2_STREAMS_MAX: u32 = 100;

/// Streams reset before they were answered (CVE-2023-44487). Beyond it the connection ends.
pub const HTTP2_PENDING_RESETS_MAX: usize = 20;

/// What may be received for one HTTP/2 stream before its reader asks for more.
pub const HTTP2_STREAM_WINDOW_BYTES: u32 = 256 * 1024;

/// What may be received on one HTTP/2 connection before its readers ask for more.
pub const HTTP2_CONNECTION_WINDOW_BYTES: u32 = 1024 * 1024;

/// Connections open at once. Further ones wait in the kernel's queue.
pub const CONNECTIONS_MAX: usize = 262_144;

/// Of the open files that this process may have, one in so many is kept from connections: without
/// it, idle ones could leave no descriptor for the files and keys that others ask for.
pub const FILES_KEPT_FROM_CONNECTIONS: u64 = 4;

/// Clients that wait for `accept` on one socket; the kernel may have a smaller bound of its own.
pub const LISTEN_BACKLOG: i32 = 4096;

/// After an accept that failed for want of descriptors or memory.
pub const ACCEPT_RETRY_DELAY: Duration = Duration::from_millis(50);

/// Keys and chains kept in memory, in bytes. The least wanted are dropped and read again.
pub const CERTIFICATE_CACHE_BYTES: u64 = 128 * 1024 * 1024;

/// A certificate that could not be read is not tried again for so long.
pub const CERTIFICATE_RETRY_DELAY: Duration = Duration::from_secs(1);

/// How often certificate files are looked at for changes.
pub const CERTIFICATE_SWEEP_INTERVAL: Duration = Duration::from_secs(1);

/// How many certificate files are looked at in one go; with more of them a round takes longer.
pub const CERTIFICATE_SWEEP_FILES: usize = 2000;

/// Log lines a second on what strangers did wrong, and as many on what they found broken. Further
/// ones are counted, not written.
pub const STRANGER_LOG_LINES_PER_SECOND: u32 = 20;

const _: () = assert!(BUFFERS_KEPT_MAX.as_secs() < KEEP_ALIVE_TIMEOUT.as_secs());
const _: () = assert!(BUFFERS_KEPT_MIN.as_millis() < BUFFERS_KEPT_MAX.as_millis());
const _: () = assert!(PLAIN_READ_BYTES < UNSENT_BYTES_MAX);

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

/// Bytes of the first read of a file that is streamed. Each stream of an HTTP/2 connection holds a
/// chunk, even where the peer opens no window for it: 100 of them times this. Later reads double, up
/// to [`FILE_CHUNK_BYTES`].
pub const FILE_FIRST_CHUNK_BYTES: usize = 8 * 1024;

/// Ranges in one `Range` field. More are ignored, as RFC 9110, 14.2 allows: the answer is the whole.
pub const RANGES_MAX: usize = 16;

/// Times a file is opened again when the kernel says that a rename came between (openat2, EAGAIN).
pub const FILE_OPEN_ATTEMPTS_MAX: usize = 8;

/// Times a file that changes under the reader is read again before it is streamed instead.
pub const FILE_READ_ATTEMPTS_MAX: usize = 3;

const _: () = assert!((CACHED_FILE_BYTES_MAX as u64) < FILE_CACHE_BYTES_MAX / 64);

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

// Logs. A client that may ask may make lines, so all that waits for the disk has a bound.

/// A value of a client in a line of a log, in bytes, before escaping. Longer ones are cut, with
/// `...` behind them.
pub const LOG_FIELD_BYTES_MAX: usize = 4096;

/// Places where lines wait for the writer: one for each core, up to this.
pub const LOG_SHARDS_MAX: usize = 32;

/// Lines that wait in one place, in bytes. Where the disk is slower than that for so long, further
/// lines are lost and counted. All places together hold 64 MiB at most.
pub const LOG_SHARD_BYTES_MAX: usize = 2 * 1024 * 1024;

/// With so many bytes in one place the writer does not wait for its time.
pub const LOG_SHARD_BYTES_READY: usize = 256 * 1024;

/// How often lines are written.
pub const LOG_INTERVAL: Duration = Duration::from_millis(250);

/// How often a writer that has nothing to write looks at the hour, to put old files away.
pub const LOG_IDLE_INTERVAL: Duration = Duration::from_secs(60);

/// So long a stop waits for the last lines to be written.
pub const LOG_FLUSH_TIMEOUT: Duration = Duration::from_secs(5);

/// How often it is said that lines were lost.
pub const LOG_LOST_SAID_INTERVAL: Duration = Duration::from_secs(60);

/// Log files open at once. With more sites than that files are opened for a batch of lines.
pub const LOG_FILES_OPEN_MAX: usize = 256;

/// Settings of the log that are kept for answers on their way when a configuration changes. The
/// lines of older ones are lost.
pub const LOG_SETTINGS_KEPT_MAX: usize = 16;

/// Lines of the errors log that wait, in bytes. Further ones are lost and counted.
pub const LOG_ERRORS_BYTES_MAX: usize = 1024 * 1024;

/// Lines of the errors log in a second. Further ones are counted, not written.
pub const LOG_ERRORS_LINES_PER_SECOND: u32 = 1000;

const _: () = assert!(LOG_SHARD_BYTES_READY * 4 <= LOG_SHARD_BYTES_MAX);
const _: () = assert!(LOG_SHARD_BYTES_MAX * LOG_SHARDS_MAX <= 64 * 1024 * 1024);
