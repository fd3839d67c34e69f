//! Every bound on what a peer can grow, each with its reason and with what happens when it is
//! reached. Relations between bounds are checked when the code is compiled.

use std::time::Duration;

/// Threads for work that may block (files, keys). Further work waits in line.
pub const BLOCKING_THREADS_MAX: usize = 64;

/// What was written and not yet sent on one connection; further writes wait for the peer.
pub const UNSENT_BYTES_MAX: usize = 64 * 1024;

/// What one connection may receive before the others of its thread have their turn. Of the smallest
/// frames of HTTP/2 that is a millisecond or two of work.
pub const TURN_RECEIVED_BYTES_MAX: usize = 16 * 1024;

/// One read from a socket without TLS; more is read in the next turn.
pub const PLAIN_READ_BYTES: usize = 8 * 1024;

/// One read from either side of a tunnel. What the other side does not take at once is kept, so this
/// is also what a tunnel holds in each direction, beside [`UNSENT_BYTES_MAX`].
pub const TUNNEL_READ_BYTES: usize = 16 * 1024;

/// Protocols in the `Upgrade` of one request. Those behind are not handed on.
pub const UPGRADE_PROTOCOLS_MAX: usize = 4;

/// Interim answers (1xx) before one answer that are passed on. Further ones are dropped.
pub const INTERIM_ANSWERS_MAX: u32 = 8;

/// From the connection to the end of the handshake. Who takes longer is idle or hostile.
pub const HANDSHAKE_TIMEOUT: Duration = Duration::from_secs(15);

/// A PROXY protocol header of version 1: the longest line that its specification knows. A longer
/// one ends the connection.
pub const PROXY_HEADER_V1_BYTES_MAX: usize = 107;

/// A PROXY protocol header of version 2 with all its fields. Those in use have some hundred bytes; a
/// longer one ends the connection.
pub const PROXY_HEADER_BYTES_MAX: usize = 4096;

/// From the first byte of a request head to its last. Later the connection is closed.
pub const REQUEST_HEAD_TIMEOUT: Duration = Duration::from_secs(30);

/// A kept connection without a request is closed after this: browsers keep theirs for 60 s and more.
/// With what else may pass before (unwanted content, a tick) and after (the client's last word), who
/// does nothing is gone within 75 s.
pub const KEEP_ALIVE_TIMEOUT: Duration = Duration::from_secs(65);

/// A client that is waited for, to send content or to take its answer, and moves nothing for so long
/// is given up. Bytes that move on HTTP/2 without being content, such as PINGs, do not count.
pub const STALL_TIMEOUT: Duration = Duration::from_secs(60);

/// While it is waited for, a client owes this; what it has moved is taken off. One that owes as much
/// as comes together in [`STALL_TIMEOUT`] is given up, so that dripping helps nobody. As in HTTP.SYS
/// (MinBytesPerSecond).
pub const CLIENT_BYTES_PER_SECOND_MIN: u64 = 240;

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

/// The target of a request on HTTP/1.1. Longer ones are answered 414.
pub const REQUEST_TARGET_BYTES_MAX: usize = 24 * 1024;

/// A method on HTTP/1.1: longer than any that is registered. Longer ones are answered 501.
pub const METHOD_BYTES_MAX: usize = 32;

/// Empty lines before a request. Old clients send one after their content; more are answered 400.
pub const LEADING_EMPTY_LINES_MAX: usize = 4;

/// The line before a chunk, with its extensions, which nobody uses but to sign chunks. Longer ones
/// are answered 400.
pub const CHUNK_LINE_BYTES_MAX: usize = 1024;

/// The fields of a request on HTTP/2, counted as HPACK counts (RFC 7541, 4.1: 32 bytes more for
/// each field).
pub const HTTP2_HEADER_LIST_BYTES_MAX: u32 = 32 * 1024;

/// Parts of a cookie on HTTP/2, beside [`REQUEST_FIELDS_MAX`]: browsers send each pair alone and keep
/// up to 180 for a site. More are answered 431.
pub const HTTP2_COOKIES_MAX: usize = 200;

/// Requests under way on one HTTP/2 connection; further ones are refused (RFC 9113, 5.1.2).
pub const HTTP2_STREAMS_MAX: u32 = 100;

/// Streams reset before they were answered (CVE-2023-44487). Beyond it the connection ends.
pub const HTTP2_PENDING_RESETS_MAX: usize = 20;

/// Streams that a client makes us reset by its errors (CVE-2025-8671). Beyond it the connection ends.
pub const HTTP2_ERROR_RESETS_MAX: usize = 100;

/// What may be received for one HTTP/2 stream before its reader asks for more.
pub const HTTP2_STREAM_WINDOW_BYTES: u32 = 256 * 1024;

/// What may be received on one HTTP/2 connection before its readers ask for more.
pub const HTTP2_CONNECTION_WINDOW_BYTES: u32 = 1024 * 1024;

/// Connections open at once. Further ones wait in the kernel's queue.
pub const CONNECTIONS_MAX: usize = 262_144;

/// Connections of one client (an IPv4 address, or an IPv6 /64) at once; further ones are closed.
/// Behind one address of a provider's NAT are some hundred customers, who open one connection to a
/// site on HTTP/2 and six on HTTP/1.1: 4,096 are more than 600 of them at the same moment. Who wants
/// all connections of this server needs 64 addresses. Where the option is not set, trusted proxies
/// and this machine itself have no bound.
pub const CONNECTIONS_PER_ADDRESS_MAX: u32 = 4096;

/// Handshakes under way at once, some 20 KB each; further connections are closed.
pub const HANDSHAKES_MAX: usize = 4096;

/// With more handshakes under way than this, who takes longer than [`HANDSHAKE_PRESSED_TIMEOUT`] is
/// given up. Honest ones take some tenths of a second: as many mean 5,000 new clients a second.
pub const HANDSHAKES_PRESSED: usize = 1024;

/// What a handshake may take while there are too many of them: some round trips, and one packet
/// that was lost.
pub const HANDSHAKE_PRESSED_TIMEOUT: Duration = Duration::from_secs(3);

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
const _: () = assert!((CONNECTIONS_PER_ADDRESS_MAX as usize) < CONNECTIONS_MAX / 32);
const _: () = assert!(HANDSHAKES_PRESSED < HANDSHAKES_MAX);
const _: () = assert!(HANDSHAKE_PRESSED_TIMEOUT.as_secs() < HANDSHAKE_TIMEOUT.as_secs());
const _: () = assert!(PLAIN_READ_BYTES < UNSENT_BYTES_MAX);
const _: () = assert!(REQUEST_TARGET_BYTES_MAX < REQUEST_HEAD_BYTES_MAX);

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

// Upstream servers. They are an administrator's own and yet may be broken or taken over.

/// What hyper buffers of one upstream connection, the head of an answer included. A longer head is
/// no answer: 502.
pub const UPSTREAM_BUFFER_BYTES_MAX: usize = 64 * 1024;

/// Bytes that an upstream may send before the end of the head of its answer, interim answers
/// included. More is no answer: 502.
pub const UPSTREAM_HEAD_BYTES_MAX: u64 = 256 * 1024;

/// For so long the content of a request waits for an upstream's `100 Continue`. Then it is sent
/// without: many servers never say it (RFC 9110, 10.1.1).
pub const UPSTREAM_CONTINUE_TIMEOUT: Duration = Duration::from_secs(1);

/// How often one request is tried, the first time included.
pub const UPSTREAM_TRIES_MAX: u32 = 3;

/// A connection to an upstream that was not used for so long is closed.
pub const UPSTREAM_IDLE_TIMEOUT: Duration = Duration::from_secs(60);

/// How often a member's idle connections are looked at.
pub const UPSTREAM_SWEEP_INTERVAL: Duration = Duration::from_secs(5);

/// Connections to one member that speaks HTTP/2. Each carries as many requests as the member
/// allows; further requests wait.
pub const UPSTREAM_HTTP2_CONNECTIONS_MAX: usize = 8;

/// Requests on an HTTP/2 connection to a member before another connection is opened.
pub const UPSTREAM_HTTP2_STREAMS: u32 = 100;

/// The addresses of a name are believed for so long. Shorter than anybody waits for a change of
/// them, longer than a burst of requests.
pub const RESOLVED_FOR: Duration = Duration::from_secs(5);

/// Names whose addresses are remembered. With more, the oldest are forgotten.
pub const RESOLVED_NAMES_MAX: usize = 1024;

/// Elements of `Forwarded` and `X-Forwarded-For` that are read, from the right. What is further left
/// is nobody's word that could matter.
pub const FORWARDED_ELEMENTS_MAX: usize = 32;

const _: () = assert!((UPSTREAM_BUFFER_BYTES_MAX as u64) < UPSTREAM_HEAD_BYTES_MAX);
