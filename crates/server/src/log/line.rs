//! One line of the access log: begun when the head of the answer is there, ended when its content
//! is sent or given up. What is the same for all requests of a connection is written once.

use std::{
    net::{IpAddr, SocketAddr},
    sync::{
        Arc,
        atomic::{AtomicU64, Ordering},
    },
    time::{Duration, Instant},
};

use bindery_model::{
    log::{AccessLog, LogFormat},
    site::SiteId,
};
use http::{
    Uri, Version,
    header::{REFERER, USER_AGENT},
    request::Parts,
};

use super::{
    access::{Inner, OfSite},
    date::Date,
    escape,
    substatus::Substatus,
};
use crate::{
    http::user::User,
    metrics::{HandlerKind, Outcome},
    rules::rewrite::OriginalUri,
    snapshot::Revision,
    tls::TlsInfo,
};

/// The fields of the W3C format: IIS's default ones in its order, and ours behind them.
pub(crate) const W3C_FIELDS: &str = "date time s-ip cs-method cs-uri-stem cs-uri-query s-port \
    cs-username c-ip cs(User-Agent) cs(Referer) sc-status sc-substatus sc-win32-status time-taken \
    cs-host cs-version sc-bytes cs-bytes x-tls-server-name x-tls-version x-tls-cipher x-tls-group \
    x-tls-resumed x-tls-thumbprint";

/// The same in a file that sites share: IIS has the site behind the time.
pub(crate) const W3C_FIELDS_SHARED: &str = "date time s-sitename s-ip cs-method cs-uri-stem \
    cs-uri-query s-port cs-username c-ip cs(User-Agent) cs(Referer) sc-status sc-substatus \
    sc-win32-status time-taken cs-host cs-version sc-bytes cs-bytes x-tls-server-name \
    x-tls-version x-tls-cipher x-tls-group x-tls-resumed x-tls-thumbprint";

/// How requests of one connection for one host are logged and counted.
pub(crate) struct SiteLog {
    logs: Arc<Inner>,
    /// Where its lines wait: the place of the thread that its first request came to. Connections
    /// seldom move to another.
    place: usize,
    line: Option<SiteLine>,
}

/// What is the same in all lines of a connection for a host.
struct SiteLine {
    /// What says where the lines go.
    of: OfSite,
    format: LogFormat,
    /// Before the method (W3C): the server's address.
    server: Vec<u8>,
    /// After the query (W3C): the server's port.
    port: Vec<u8>,
    client: Vec<u8>,
    /// After the time taken (W3C): the host.
    host: Vec<u8>,
    /// The end of a line, from TLS on (W3C), or all that is the same (JSON).
    tail: Vec<u8>,
}

/// What a connection and a host are, for a log.
pub(crate) struct Connected<'a> {
    pub(crate) local: SocketAddr,
    pub(crate) peer: SocketAddr,
    pub(crate) tls: Option<&'a TlsInfo>,
    pub(crate) authority: &'a str,
    /// The site, by its number and name.
    pub(crate) site: (SiteId, &'a str),
}

impl SiteLog {
    /// Counts requests, and logs them where `settings` are given.
    pub(crate) fn new(
        logs: Arc<Inner>,
        revision: Revision,
        settings: Option<&AccessLog>,
        connected: &Connected<'_>,
    ) -> Self {
        let line = settings.map(|settings| match settings.format {
            LogFormat::W3c => w3c_line(revision, settings.shared, connected),
            LogFormat::Json => json_line(revision, connected),
            LogFormat::Combined => SiteLine {
                client: connected.peer.ip().to_string().into_bytes(),
                ..empty_line(revision, LogFormat::Combined, connected)
            },
        });
        Self { place: logs.place(), logs, line }
    }
}

fn empty_line(revision: Revision, format: LogFormat, connected: &Connected<'_>) -> SiteLine {
    SiteLine {
        of: OfSite { revision, site: connected.site.0, name: connected.site.1.into() },
        format,
        server: Vec::new(),
        port: Vec::new(),
        client: Vec::new(),
        host: Vec::new(),
        tail: Vec::new(),
    }
}

/// The TLS fields: server name, version, cipher suite, group, resumed, thumbprint.
fn tls_fields(tls: Option<&TlsInfo>) -> [String; 6] {
    let Some(tls) = tls else { return Default::default() };
    let name = tls.server_name.as_ref().map(ToString::to_string).unwrap_or_default();
    let mut thumbprint = String::with_capacity(40);
    for byte in tls.certificate.facts.thumbprint {
        thumbprint.push_str(&format!("{byte:02X}"));
    }
    let negotiated = tls.negotiated;
    let resumed = if negotiated.resumed { "1" } else { "0" };
    let [version, suite, group] =
        [negotiated.version, negotiated.cipher_suite, negotiated.group].map(str::to_owned);
    [name, version, suite, group, resumed.to_owned(), thumbprint]
}

fn w3c_line(revision: Revision, shared: bool, connected: &Connected<'_>) -> SiteLine {
    let mut line = empty_line(revision, LogFormat::W3c, connected);
    let Connected { local, peer, tls, authority, site: (site, _) } = connected;
    if shared {
        line.server.extend(format!("W3SVC{site} ").as_bytes());
    }
    line.server.extend(format!("{} ", local.ip()).as_bytes());
    line.port.extend(format!(" {} ", local.port()).as_bytes());
    line.client.extend(peer.ip().to_string().as_bytes());
    line.host.push(b' ');
    escape::w3c(&mut line.host, authority.as_bytes());
    line.host.push(b' ');
    for value in tls_fields(*tls) {
        line.tail.push(b' ');
        escape::w3c(&mut line.tail, value.as_bytes());
    }
    line.tail.push(b'\n');
    line
}

fn json_line(revision: Revision, connected: &Connected<'_>) -> SiteLine {
    let mut line = empty_line(revision, LogFormat::Json, connected);
    let Connected { local, peer, tls, authority, site: (site, _) } = connected;
    line.client.extend(peer.ip().to_string().as_bytes());
    let tail = &mut line.tail;
    json_text(tail, "s-sitename", format!("W3SVC{site}").as_bytes());
    json_text(tail, "s-ip", local.ip().to_string().as_bytes());
    tail.extend(format!(",\"s-port\":{}", local.port()).as_bytes());
    json_text(tail, "cs-host", authority.as_bytes());
    let [name, version, suite, group, resumed, thumbprint] = tls_fields(*tls);
    if tls.is_some() {
        json_text(tail, "x-tls-server-name", name.as_bytes());
        json_text(tail, "x-tls-version", version.as_bytes());
        json_text(tail, "x-tls-cipher", suite.as_bytes());
        json_text(tail, "x-tls-group", group.as_bytes());
        let resumed = if resumed == "1" { "true" } else { "false" };
        tail.extend(format!(",\"x-tls-resumed\":{resumed}").as_bytes());
        json_text(tail, "x-tls-thumbprint", thumbprint.as_bytes());
    }
    tail.extend(b"}\n");
    line
}

/// A member of a JSON object that is not its first, unless it is empty.
fn json_text(out: &mut Vec<u8>, name: &str, value: &[u8]) {
    if !value.is_empty() {
        out.extend_from_slice(b",\"");
        out.extend_from_slice(name.as_bytes());
        out.extend_from_slice(b"\":\"");
        escape::json(out, value);
        out.push(b'"');
    }
}

/// A line that has begun, with what its end will need.
pub(crate) struct Line {
    text: Vec<u8>,
    /// Where the date comes (combined), and where the count of bytes.
    splits: (u32, u32),
    begun: Instant,
    received: Option<Arc<AtomicU64>>,
    status: u16,
    win32: u16,
    version: Version,
    kind: HandlerKind,
    /// How long the answer took that made a tunnel of the request.
    switched: Option<Duration>,
}

/// What is known of an answer when its head is there.
pub(crate) struct Head<'a> {
    pub(crate) request: &'a Parts,
    pub(crate) begun: Instant,
    /// Who asks, where that is not the peer of the connection.
    pub(crate) client: Option<IpAddr>,
    /// How much content of the request has come, where there is any.
    pub(crate) received: Option<Arc<AtomicU64>>,
    pub(crate) status: u16,
    pub(crate) substatus: Substatus,
    pub(crate) kind: HandlerKind,
}

impl Line {
    pub(crate) fn begin(log: &SiteLog, head: Head<'_>) -> Self {
        let (mut text, mut splits) = (Vec::new(), (0, 0));
        if let Some(line) = &log.line {
            match line.format {
                LogFormat::W3c => begin_w3c(&mut text, line, &head),
                LogFormat::Json => begin_json(&mut text, line, &head),
                LogFormat::Combined => splits = begin_combined(&mut text, line, &head),
            }
        }
        let Head { request, begun, received, status, substatus, kind, .. } = head;
        let (version, win32, switched) = (request.version, substatus.win32, None);
        Self { text, splits, begun, received, status, win32, version, kind, switched }
    }

    /// What answers.
    pub(crate) fn kind(&self) -> HandlerKind {
        self.kind
    }

    /// What follows the head of the answer is no answer but a tunnel, however long that lasts.
    /// What goes through it to the upstream server is counted in `received`.
    pub(crate) fn becomes_tunnel(&mut self, received: Arc<AtomicU64>) {
        self.switched = Some(self.begun.elapsed());
        self.received = Some(received);
    }

    /// The answer has come to its end after so many bytes of content, or to an end before it, for
    /// the reason that Win32 has this number for.
    pub(crate) fn end(self, log: &SiteLog, sent: u64, broken: Option<u16>) {
        let now = Instant::now();
        let received = self.received.as_ref().map_or(0, |bytes| bytes.load(Ordering::Relaxed));
        let taken = now - self.begun;
        let (version, status, kind) = (self.version, self.status, self.kind);
        // A tunnel says nothing of how fast answers are.
        let answered = self.switched.unwrap_or(taken);
        let outcome = Outcome {
            version,
            status,
            kind,
            taken: answered,
            sent,
            received,
            complete: broken.is_none(),
        };
        let Some(line) = &log.line else { return log.logs.count_at(log.place, &outcome) };
        let win32 = broken.unwrap_or(self.win32);
        let numbers = Numbers { taken, win32, sent, received };
        log.logs.write(
            &outcome,
            (log.place, &line.of),
            now,
            (self.text.len() + TAIL_BYTES, |out, date| match line.format {
                LogFormat::W3c => self.end_w3c(out, date, line, &numbers),
                LogFormat::Json => self.end_json(out, date, line, &numbers),
                LogFormat::Combined => self.end_combined(out, date, &numbers),
            }),
        );
    }
}

/// What the numbers of a line, the date and the fields of the connection may take.
const TAIL_BYTES: usize = 1024;

/// What only the end of an answer tells.
struct Numbers {
    taken: Duration,
    win32: u16,
    sent: u64,
    received: u64,
}

/// What the client asked for, whatever a rewrite has made of it.
pub(crate) fn asked(request: &Parts) -> &Uri {
    request.extensions.get::<OriginalUri>().map_or(&request.uri, |original| &original.0)
}

/// The peer, or whom it speaks for.
fn client(out: &mut Vec<u8>, line: &SiteLine, head: &Head<'_>) {
    match head.client {
        Some(address) => out.extend(address.to_string().as_bytes()),
        None => out.extend_from_slice(&line.client),
    }
}

fn begin_w3c(out: &mut Vec<u8>, line: &SiteLine, head: &Head<'_>) {
    let request = head.request;
    let uri = asked(request);
    let (path, query) = (uri.path(), uri.query().unwrap_or_default());
    let [agent, referer] = agent_and_referer(request);
    out.reserve(96 + path.len() + query.len() + agent.len() + referer.len());
    out.extend_from_slice(&line.server);
    out.extend_from_slice(request.method.as_str().as_bytes());
    out.push(b' ');
    escape::w3c(out, path.as_bytes());
    out.push(b' ');
    escape::w3c(out, query.as_bytes());
    out.extend_from_slice(&line.port);
    escape::w3c(out, user(request));
    out.push(b' ');
    client(out, line, head);
    out.push(b' ');
    escape::w3c(out, agent);
    out.push(b' ');
    escape::w3c(out, referer);
    out.push(b' ');
    number(out, head.status.into());
    out.push(b' ');
    number(out, head.substatus.sub.into());
    out.push(b' ');
}

fn begin_json(out: &mut Vec<u8>, line: &SiteLine, head: &Head<'_>) {
    let (request, uri) = (head.request, asked(head.request));
    let [agent, referer] = agent_and_referer(request);
    out.reserve(256 + uri.path().len() + agent.len() + referer.len());
    json_text(out, "cs-method", request.method.as_str().as_bytes());
    json_text(out, "cs-uri-stem", uri.path().as_bytes());
    json_text(out, "cs-uri-query", uri.query().unwrap_or_default().as_bytes());
    json_text(out, "cs-username", user(request));
    let mut address = Vec::new();
    client(&mut address, line, head);
    json_text(out, "c-ip", &address);
    json_text(out, "cs(User-Agent)", agent);
    json_text(out, "cs(Referer)", referer);
    json_number(out, "sc-status", head.status.into());
    json_number(out, "sc-substatus", head.substatus.sub.into());
}

/// Gives where the date belongs and where the count of bytes.
fn begin_combined(out: &mut Vec<u8>, line: &SiteLine, head: &Head<'_>) -> (u32, u32) {
    let request = head.request;
    let place = |out: &Vec<u8>| u32::try_from(out.len()).unwrap_or(u32::MAX);
    client(out, line, head);
    out.extend_from_slice(b" - ");
    escape::combined(out, user(request), false);
    out.push(b' ');
    let date_at = place(out);
    out.extend_from_slice(b" \"");
    out.extend_from_slice(request.method.as_str().as_bytes());
    out.push(b' ');
    let uri = asked(request);
    escape::combined(out, uri.path().as_bytes(), false);
    if let Some(query) = uri.query() {
        out.push(b'?');
        if !query.is_empty() {
            escape::combined(out, query.as_bytes(), false);
        }
    }
    out.push(b' ');
    out.extend_from_slice(version(request.version).as_bytes());
    out.extend_from_slice(b"\" ");
    number(out, head.status.into());
    out.push(b' ');
    let bytes_at = place(out);
    let [agent, referer] = agent_and_referer(request);
    out.extend_from_slice(b" \"");
    escape::combined(out, referer, true);
    out.extend_from_slice(b"\" \"");
    escape::combined(out, agent, true);
    out.extend_from_slice(b"\"\n");
    (date_at, bytes_at)
}

impl Line {
    fn end_w3c(&self, out: &mut Vec<u8>, date: &Date, line: &SiteLine, numbers: &Numbers) {
        out.extend_from_slice(&date.w3c);
        out.extend_from_slice(&self.text);
        number(out, numbers.win32.into());
        out.push(b' ');
        number(out, milliseconds(numbers.taken));
        out.extend_from_slice(&line.host);
        out.extend_from_slice(version(self.version).as_bytes());
        out.push(b' ');
        number(out, numbers.sent);
        out.push(b' ');
        number(out, numbers.received);
        out.extend_from_slice(&line.tail);
    }

    fn end_json(&self, out: &mut Vec<u8>, date: &Date, line: &SiteLine, numbers: &Numbers) {
        out.extend_from_slice(b"{\"time\":\"");
        out.extend_from_slice(&date.rfc3339);
        out.push(b'"');
        out.extend_from_slice(&self.text);
        json_number(out, "sc-win32-status", numbers.win32.into());
        json_number(out, "time-taken", milliseconds(numbers.taken));
        json_text(out, "cs-version", version(self.version).as_bytes());
        json_number(out, "sc-bytes", numbers.sent);
        json_number(out, "cs-bytes", numbers.received);
        out.extend_from_slice(&line.tail);
    }

    fn end_combined(&self, out: &mut Vec<u8>, date: &Date, numbers: &Numbers) {
        let (date_at, bytes_at) = (self.splits.0 as usize, self.splits.1 as usize);
        out.extend_from_slice(self.text.get(..date_at).unwrap_or_default());
        out.extend_from_slice(&date.apache);
        out.extend_from_slice(self.text.get(date_at..bytes_at).unwrap_or_default());
        match numbers.sent {
            0 => out.push(b'-'),
            sent => number(out, sent),
        }
        out.extend_from_slice(self.text.get(bytes_at..).unwrap_or_default());
    }
}

fn agent_and_referer(request: &Parts) -> [&[u8]; 2] {
    [USER_AGENT, REFERER].map(|name| request.headers.get(name).map_or(&b""[..], |v| v.as_bytes()))
}

fn user(request: &Parts) -> &[u8] {
    request.extensions.get::<User>().map_or(&b""[..], |user| user.0.as_bytes())
}

/// The version as logs write it. HTTP/2 has no minor number; IIS writes one nevertheless.
pub(crate) fn version(version: Version) -> &'static str {
    match version {
        Version::HTTP_10 => "HTTP/1.0",
        Version::HTTP_2 => "HTTP/2.0",
        _ => "HTTP/1.1",
    }
}

fn milliseconds(taken: Duration) -> u64 {
    u64::try_from(taken.as_millis()).unwrap_or(u64::MAX)
}

fn number(out: &mut Vec<u8>, number: u64) {
    // Most are one digit.
    match u8::try_from(number) {
        Ok(digit @ 0..=9) => out.push(b'0' + digit),
        _ => out.extend_from_slice(itoa::Buffer::new().format(number).as_bytes()),
    }
}

fn json_number(out: &mut Vec<u8>, name: &str, value: u64) {
    out.extend_from_slice(b",\"");
    out.extend_from_slice(name.as_bytes());
    out.extend_from_slice(b"\":");
    number(out, value);
}
