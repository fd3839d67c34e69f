//! Every bound on what a peer can grow, each with its reason and with what happens when it is
//! reached. Relations between bounds are checked when the code is compiled.

use std::time::Duration;

/// Threads for work that may block (files, keys). Further work waits in line.
pub const BLOCKING_THREADS_MAX: usize = 64;

/// Of these, so many wait for the files of one folder at most: a disk that hangs holds no more.
/// Further work for it waits in line.
pub const FOLDER_THREADS_MAX: usize = 16;

/// Of these, so many wait for file systems that are not known to be local (NFS, FUSE), over all
/// folders: when all of those hang, the others have the rest.
pub const SLOW_THREADS_MAX: usize = 48;

/// A disk that has not answered by then hangs: who looks for a file is answered 500, and an answer
/// under way is broken off. Otherwise clients that are long gone would be waited for.
pub const DISK_TIMEOUT: Duration = Duration::from_secs(60);

const _: () = {
    assert!(FOLDER_THREADS_MAX < SLOW_THREADS_MAX && SLOW_THREADS_MAX < BLOCKING_THREADS_MAX);
};

/// What was written and not yet sent on one connection; further writes wait for the peer.
pub const UNSENT_BYTES_MAX: usize = 64 * 1024;

/// What the kernel holds for a client beyond what is on its way, about: a larger buffer of the kernel
/// fills with megabytes for each client that takes nothing, all of them encrypted for nobody, and
/// hides for minutes that a slow one does take something (TCP_NOTSENT_LOWAT; the kernel adds up to
/// one segment of 64 KiB, and says that there is room when half of this is left).
pub const KERNEL_UNSENT_BYTES: u32 = 32 * 1024;

/// The same for a client that has taken [`FAST_CLIENT_BYTES`] within [`FAST_CLIENT_TIME`]: server and
/// client then work at the same time, which doubles what one fast download gets.
pub const KERNEL_UNSENT_FAST_BYTES: u32 = 512 * 1024;

/// See [`KERNEL_UNSENT_FAST_BYTES`]. More than a client takes that reads nothing.
pub const FAST_CLIENT_BYTES: u64 = 1024 * 1024;

/// See [`KERNEL_UNSENT_FAST_BYTES`].
pub const FAST_CLIENT_TIME: Duration = Duration::from_secs(5);

/// What one write takes into TLS, where it is encrypted and held until it is sent: the largest piece
/// of a file. Somebody who writes more at once writes the rest when that is sent.
pub const TLS_WRITE_BYTES_MAX: usize = FILE_BURST_BYTES;

/// What one connection may receive before the others of its thread have their turn. Of the smallest
/// frames of HTTP/2 that is a millisecond or two of work.
pub const TURN_RECEIVED_BYTES_MAX: usize = 16 * 1024;

/// What one connection may write before the others have their turn: what is encrypted in a tenth of
/// a millisecond.
pub const TURN_SENT_BYTES_MAX: usize = 256 * 1024;

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

/// What is shown of the path and query of a request under way, in bytes: so much is held for each
/// while it runs. Longer ones are cut, with `...` behind them.
pub const RUNNING_URL_BYTES_MAX: usize = 1024;

/// Requests under way on one HTTP/2 connection; further ones are refused (RFC 9113, 5.1.2).
pub const HTTP2_STREAMS_MAX: u32 = 100;

/// Streams reset before they were answered (CVE-2023-44487). Beyond it the connection ends.
pub const HTTP2_PENDING_RESETS_MAX: usize = 20;

/// Streams that a client makes us reset by its errors (CVE-2025-8671). Beyond it the connection ends.
pub const HTTP2_ERROR_RESETS_MAX: usize = 100;

/// Frames of HTTP/2 that a client may send without a reason: all but the head of a request and DATA
/// with content, such as PING, SETTINGS, PRIORITY, WINDOW_UPDATE, RST_STREAM. Browsers begin with
/// less than ten and clients of gRPC send a PING in ten seconds; this many are a millisecond of work.
/// Beyond it the connection ends (GOAWAY, ENHANCE_YOUR_CALM).
pub const HTTP2_FRAMES_MAX: u32 = 4096;

/// So many more a second, up to [`HTTP2_FRAMES_MAX`].
pub const HTTP2_FRAMES_PER_SECOND: u32 = 256;

/// So many more with each request: its priority and changes of it, trailers, an end without content,
/// updates of its window, a reset. A request is more work than all of them.
pub const HTTP2_FRAMES_PER_REQUEST: u32 = 16;

/// One more for so many bytes sent to it. Clients open their windows for what they have read, most of
/// them in steps of 4 KiB and more, but simple ones for each frame of DATA, on stream and connection
/// both; those of gRPC measure the line with a PING after such a frame. Few frames are smaller.
pub const HTTP2_SENT_BYTES_PER_FRAME: usize = 64;

/// What requests and bytes sent may come to in frames that have not come yet: for 4 MiB that a client
/// has and its program reads only then, or for 4,096 requests.
pub const HTTP2_FRAMES_EXPLAINED_MAX: u32 = 65_536;

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
// Within its patience the slowest client that counts as fast must have made room.
const _: () = assert!(
    (KERNEL_UNSENT_FAST_BYTES as u64) / STALL_TIMEOUT.as_secs()
        < FAST_CLIENT_BYTES / FAST_CLIENT_TIME.as_secs()
);
const _: () = assert!(HTTP2_FRAMES_PER_SECOND < HTTP2_FRAMES_MAX);
const _: () = assert!(HTTP2_FRAMES_MAX < HTTP2_FRAMES_EXPLAINED_MAX);
// Our own answers to frames explain no further ones: that to a PING is 17 bytes.
const _: () = assert!(HTTP2_SENT_BYTES_PER_FRAME > 2 * 17);
const _: () = assert!(REQUEST_TARGET_BYTES_MAX < REQUEST_HEAD_BYTES_MAX);
const _: () =
    assert!(FILE_CHUNK_BYTES < FILE_BURST_BYTES && FILE_BURST_BYTES <= TLS_WRITE_BYTES_MAX);

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

/// Bytes read at once from a file that is streamed to a peer that takes all it is given.
pub const FILE_BURST_BYTES: usize = 512 * 1024;

/// Streams that may read [`FILE_BURST_BYTES`] at once; others read [`FILE_CHUNK_BYTES`]. A peer that
/// stops taking holds a burst twice, as it was read and as it is sent: all of them 32 MiB. More of
/// them than this take turns anyway.
pub const FILE_BURSTS_MAX: usize = 32;

/// What an HTTP/2 stream has written and not yet sent. More does not make it faster: the socket
/// holds what is on its way.
pub const HTTP2_UNSENT_BYTES_MAX: usize = 128 * 1024;

/// Ranges in one `Range` field. More are ignored, as RFC 9110, 14.2 allows: the answer is the whole.
pub const RANGES_MAX: usize = 16;

/// Entries of a folder that are listed. The rest are left out, and the page says so. A page for so
/// many is one or two MiB, and made in some 20 ms.
pub const LISTING_ENTRIES_MAX: usize = 10_000;

/// Bytes of a listing: entries with the longest names, each written out and encoded, reach it
/// before [`LISTING_ENTRIES_MAX`]. The rest are left out, and the page says so.
pub const LISTING_BYTES_MAX: usize = 4 * 1024 * 1024;

/// For so long a listing is given to all who ask for it, so that many who do take neither the time
/// nor the memory of many.
pub const LISTING_KEPT_FOR: Duration = Duration::from_secs(1);

/// Symbolic links on the way to a file, where the kernel does not count them: as many as it takes.
pub const FILE_LINKS_MAX: usize = 40;

/// Times a file is opened again when the kernel says that a rename came between (openat2, EAGAIN).
pub const FILE_OPEN_ATTEMPTS_MAX: usize = 8;

/// Times a file that changes under the reader is read again before it is streamed instead.
pub const FILE_READ_ATTEMPTS_MAX: usize = 3;

// A file has three encoded siblings at most, and the cache is shared out over some dozen locks.
const _: () = assert!((CACHED_FILE_BYTES_MAX as u64) * 4 < FILE_CACHE_BYTES_MAX / 64);

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

// Rules of a route, and limits of a site.

/// Clients whose requests or wrong passwords are counted, over all rules, 16 bytes each. With more
/// of them, those who have asked least are forgotten; nobody is locked out and nothing is searched.
pub const RATE_CLIENTS_MAX: usize = 262_144;

/// A file of names and passwords, in bytes: 10,000 users. A larger one is refused with an error.
pub const HTPASSWD_BYTES_MAX: u64 = 1024 * 1024;

/// A file of names and passwords is looked at for changes so often, when somebody asks.
pub const HTPASSWD_CHECKED_FOR: Duration = Duration::from_secs(1);

/// The cost of a bcrypt hash: 14 is about a second. A line with more is refused with an error, for
/// anybody may make the server compute it.
pub const BCRYPT_COST_MAX: u32 = 14;

/// The memory of an argon2 hash, in KiB. A line with more is refused with an error.
pub const ARGON2_KIB_MAX: u32 = 256 * 1024;

/// Memory times passes of an argon2 hash, in KiB: about a second. A line with more is refused.
pub const ARGON2_WORK_KIB_MAX: u32 = 1024 * 1024;

/// Passwords that are verified at once. They take whole cores, and those are for others too.
pub const PASSWORDS_AT_ONCE_MAX: usize = 2;

/// Passwords that wait to be verified. Further ones are answered 429.
pub const PASSWORDS_WAITING_MAX: usize = 64;

/// Who is right once is not verified again for so long.
pub const PASSWORD_REMEMBERED_FOR: Duration = Duration::from_secs(5 * 60);

/// Verified passwords that are remembered, 40 bytes each. With more of them the least used are
/// verified again.
pub const PASSWORDS_REMEMBERED_MAX: usize = 16_384;

/// Wrong passwords that one client may try at once; then one every
/// [`WRONG_PASSWORD_INTERVAL_SECONDS`]. Further ones are answered 429 and not looked at.
pub const WRONG_PASSWORDS_MAX: u32 = 20;

/// See [`WRONG_PASSWORDS_MAX`].
pub const WRONG_PASSWORD_INTERVAL_SECONDS: u32 = 2;

/// The content of an error page, in bytes. A larger file is not used, with an error.
pub const ERROR_PAGE_BYTES_MAX: u64 = 256 * 1024;

/// An error page is looked at for changes so often, when somebody gets it.
pub const ERROR_PAGE_CHECKED_FOR: Duration = Duration::from_secs(1);

/// Files and streams that are compressed at once; the state of each takes up to 2.3 MiB (brotli) for
/// as long as its client reads, 108 MiB in all. Further ones are sent as they are.
pub const COMPRESSIONS_MAX: usize = 48;

/// An answer in memory up to this is compressed to its end before its first byte leaves, so that no
/// slow reader holds the state of it.
pub const COMPRESSED_WHOLE_BYTES_MAX: usize = 256 * 1024;

/// What is compressed before others get their turn: about a millisecond at the slowest.
pub const COMPRESSED_AT_ONCE_BYTES: usize = 16 * 1024;

/// What is sent at once of an answer whose site has no more than so many bytes a second.
pub const THROTTLED_FRAME_BYTES_MIN: usize = 512;

/// How much later than it was due a throttled answer may come and lose nothing. Timers are late by
/// milliseconds; without it a site would never get all it may have.
pub const THROTTLE_BURST: Duration = Duration::from_millis(250);
// Upstream servers. They are an administrator's own and yet may be broken or taken over.

/// The head of an upstream's answer, in bytes, and the most that is read at once of its content. A
/// longer head is no answer: 502.
pub const UPSTREAM_BUFFER_BYTES_MAX: usize = 64 * 1024;

/// The first read of an answer, and what a connection to an upstream that waits for its next request
/// keeps: most heads, and small content with them. Later reads double, up to
/// [`UPSTREAM_BUFFER_BYTES_MAX`].
pub const UPSTREAM_READ_BYTES: usize = 8 * 1024;

/// The fields of an upstream's answer, and those behind its content. More are no answer: 502.
pub const UPSTREAM_FIELDS_MAX: usize = 100;

/// The fields behind the content of an upstream's answer, in bytes. With more the answer breaks off.
pub const UPSTREAM_TRAILER_BYTES_MAX: usize = 16 * 1024;

/// A piece of a request's content up to this is copied behind what is written before it; a larger
/// one is written from where it is.
pub const UPSTREAM_COPIED_BYTES_MAX: usize = 1024;

/// Bytes that an upstream may send before the end of the head of its answer, interim answers
/// included. More is no answer: 502.
pub const UPSTREAM_HEAD_BYTES_MAX: u64 = 256 * 1024;

/// For so long the content of a request waits for an upstream's `100 Continue`. Then it is sent
/// without: many servers never say it (RFC 9110, 10.1.1).
pub const UPSTREAM_CONTINUE_TIMEOUT: Duration = Duration::from_secs(1);

/// The fields of an upstream's answer on HTTP/2, counted as HPACK counts. More is no answer: 502.
pub const UPSTREAM_HTTP2_HEADER_LIST_BYTES_MAX: u32 = 64 * 1024;

/// How often one request is tried, the first time included.
pub const UPSTREAM_TRIES_MAX: u32 = 3;

/// A kept connection to an upstream that was busy so lately is used again without asking the kernel
/// whether anything has come on it: what came is known from the reactor, a turn of it later. At
/// 50,000 requests a second that saves a system call for nearly all.
pub const UPSTREAM_VERIFIED_FOR: Duration = Duration::from_millis(5);

/// Idle connections to a member between two sweeps, where the configuration does not allow more.
/// Each costs about 20 KB; further ones are closed at once.
pub const UPSTREAM_BURST_CONNECTIONS_MAX: usize = 1024;

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
const _: () = assert!(UPSTREAM_READ_BYTES < UPSTREAM_BUFFER_BYTES_MAX);
// FastCGI.

/// The head of a program's answer. Longer ones are answered 502.
pub const FASTCGI_HEAD_BYTES_MAX: usize = 64 * 1024;

/// The fields of a program's answer. More are answered 502.
pub const FASTCGI_FIELDS_MAX: usize = 200;

/// The first read of an answer: a small one and its end are had by it, and an HTTP/2 connection can
/// have 100 answers that nobody takes.
pub const FASTCGI_FIRST_READ_BYTES: usize = 8 * 1024;

/// Later reads of an answer; what a client that takes nothing holds is one of them.
pub const FASTCGI_READ_BYTES: usize = 64 * 1024;

/// What a program writes to its log in one request. More is dropped, and that is said.
pub const FASTCGI_STDERR_BYTES_MAX: usize = 16 * 1024;

/// One line of a program in our log. The rest of it is dropped.
pub const FASTCGI_STDERR_LINE_BYTES_MAX: usize = 2 * 1024;

/// Content whose length is not known is gathered, because programs must be told the length first: in
/// memory up to this, and in a file without a name when there is more.
pub const FASTCGI_IN_MEMORY_BYTES_MAX: usize = 64 * 1024;

/// Content without a length that is gathered at once, in memory and in files, of all clients. Where
/// it is reached the next is answered 503 and may try again.
pub const FASTCGI_GATHERED_BYTES_MAX: u64 = 1024 * 1024 * 1024;

/// The part of it that one client (an IPv4 address, or an IPv6 /64) may have, all its requests
/// together: more than nearly any upload, and eight clients must do their worst at the same moment to
/// leave nothing for others. A request that alone needs more is answered 411, for with a length it
/// would be taken; one that finds the part taken by others of the same client is answered 503.
pub const FASTCGI_GATHERED_BYTES_PER_CLIENT_MAX: u64 = 128 * 1024 * 1024;

/// A connection without a request is kept for so long. It holds a process of php-fpm, which nobody
/// else can use meanwhile.
pub const FASTCGI_KEPT_FOR: Duration = Duration::from_secs(5);

/// A request on a fresh connection that has no answer after this may wait for a process that a
/// connection without a request holds. From then on none is kept.
pub const FASTCGI_STARVED_AFTER: Duration = Duration::from_millis(50);

/// A Unix socket whose queue is full refuses at once; it is tried again after this, and later ever
/// less often, until the time for connecting is over.
pub const FASTCGI_CONNECT_RETRY_DELAY: Duration = Duration::from_millis(5);

/// Segments of one path that are looked for as scripts: folders may have such names.
pub const FASTCGI_SCRIPTS_IN_PATH_MAX: usize = 8;

const _: () = assert!(FASTCGI_FIRST_READ_BYTES < FASTCGI_READ_BYTES);
const _: () = assert!(FASTCGI_GATHERED_BYTES_PER_CLIENT_MAX * 8 <= FASTCGI_GATHERED_BYTES_MAX);
// What one client has goes to files long before it is a burden to memory.
const _: () =
    assert!(FASTCGI_IN_MEMORY_BYTES_MAX as u64 * 1024 <= FASTCGI_GATHERED_BYTES_PER_CLIENT_MAX);
// Logs. A client that may ask may make lines, so all that waits for the disk has a bound.

/// A value of a client in a line of a log, in bytes, before escaping. Longer ones are cut, with
/// `...` behind them.
pub const LOG_FIELD_BYTES_MAX: usize = 4096;

/// Places where lines wait for the writer: one for each core, up to this.
pub const LOG_SHARDS_MAX: usize = 32;

/// Lines that wait for the writer, in bytes, in all places together; each has an equal share. Where
/// the disk is slower than requests for so long, further lines are lost and counted. Enough for
/// 100,000 sites that are all asked within a second, whose folders and files take some seconds to
/// make.
pub const LOG_WAITING_BYTES_MAX: usize = 64 * 1024 * 1024;

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

/// Upstream servers that metrics tell one by one. A host may have one for each of its sites.
pub const METRICS_UPSTREAM_SERVERS_MAX: usize = 1000;

/// Log files open at once. With more sites than that files are opened for a batch of lines.
pub const LOG_FILES_OPEN_MAX: usize = 256;

/// Settings of the log that are kept for answers on their way when a configuration changes. The
/// lines of older ones are lost.
pub const LOG_SETTINGS_KEPT_MAX: usize = 16;

/// Lines of the errors log that wait, in bytes. Further ones are lost and counted.
pub const LOG_ERRORS_BYTES_MAX: usize = 1024 * 1024;

/// Lines of the errors log in a second. Further ones are counted, not written.
pub const LOG_ERRORS_LINES_PER_SECOND: u32 = 1000;

const _: () = assert!(LOG_SHARD_BYTES_READY * 4 <= LOG_WAITING_BYTES_MAX / LOG_SHARDS_MAX);
