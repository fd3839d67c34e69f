//! Who is the client? The peer of the connection, or whom a proxy that is trusted says it speaks
//! for. One pure function, because the log, access rules, rate limits and upstreams must all get
//! the same answer. And what others, upstream servers and programs, may hear of it: the fields in
//! which clients are spoken of are named here and nowhere else.

use std::{
    borrow::Cow,
    net::{IpAddr, SocketAddr},
};

use http::{
    HeaderMap, HeaderName, HeaderValue,
    header::{FORWARDED, GetAll},
};
use ipnet::IpNet;

use super::{authority, forwarded};
use crate::limits::FORWARDED_ELEMENTS_MAX;

/// The addresses a request passed, the client's first.
pub static X_FORWARDED_FOR: HeaderName = HeaderName::from_static("x-forwarded-for");
/// The scheme the client used.
pub static X_FORWARDED_PROTO: HeaderName = HeaderName::from_static("x-forwarded-proto");
/// The host the client asked for.
pub static X_FORWARDED_HOST: HeaderName = HeaderName::from_static("x-forwarded-host");
/// The port the client came to.
pub static X_FORWARDED_PORT: HeaderName = HeaderName::from_static("x-forwarded-port");

/// Who asks, and how it asked.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Client<'a> {
    /// Its address; never an IPv4 address in the clothes of IPv6.
    pub address: IpAddr,
    /// Whether it used https.
    pub https: bool,
    /// The host it asked for, as `host` or `host:port`; empty where it named none.
    pub host: Cow<'a, str>,
    /// Whether the peer of the connection is a trusted proxy, so that what it says is passed on.
    pub by_proxy: bool,
}

/// Whether a field of this name, in lower case, speaks of clients, or could be read as one that does:
/// `X-Forwarded-`, with whatever follows, and `Forwarded`. Some applications take `_` for `-`.
pub(crate) fn speaks_of_clients(name: &str) -> bool {
    let start = name
        .as_bytes()
        .first_chunk()
        .map(|start: &[u8; 12]| start.map(|byte| if byte == b'_' { b'-' } else { byte }));
    name == FORWARDED.as_str() || start.as_ref() == Some(b"x-forwarded-")
}

/// How others hear of a field of a request.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum HandedOn {
    /// In the words of who sent it.
    AsItCame,
    /// In ours, for it says who the client is.
    Anew,
    /// It is a stranger's own word on clients, or in a spelling that proxies do not look at.
    NotAtAll,
}

impl Client<'_> {
    /// How a field of its request is handed on to those who believe what it says.
    pub(crate) fn hands_on(&self, name: &HeaderName) -> HandedOn {
        if !speaks_of_clients(name.as_str()) {
            return HandedOn::AsItCame;
        }
        if !self.by_proxy || name.as_str().contains('_') {
            return HandedOn::NotAtAll;
        }
        let known = [&X_FORWARDED_FOR, &X_FORWARDED_PROTO, &X_FORWARDED_HOST, &X_FORWARDED_PORT];
        match name == FORWARDED || known.contains(&name) {
            true => HandedOn::Anew,
            false => HandedOn::AsItCame,
        }
    }

    /// The scheme it used.
    pub(crate) fn scheme(&self) -> &'static str {
        if self.https { "https" } else { "http" }
    }

    /// The port it came to, where a trusted proxy says so in `fields`.
    pub(crate) fn told_port(&self, fields: &HeaderMap) -> Option<u16> {
        let port = fields.get(&X_FORWARDED_PORT).filter(|_| self.by_proxy)?;
        port.to_str().ok()?.parse().ok()
    }

    /// What is believed of it, as the field `name` says that, one of those that are handed on anew.
    /// `None` where nothing is.
    pub(crate) fn in_words_of(&self, name: &HeaderName, fields: &HeaderMap) -> Option<String> {
        Some(match name {
            name if name == X_FORWARDED_FOR => self.address.to_string(),
            name if name == X_FORWARDED_PROTO => self.scheme().to_owned(),
            name if name == X_FORWARDED_HOST => {
                Some(&self.host).filter(|host| !host.is_empty())?.clone().into_owned()
            }
            name if name == X_FORWARDED_PORT => self.told_port(fields)?.to_string(),
            name if name == FORWARDED => forwarded::write(self.address, &self.host, self.https),
            _ => return None,
        })
    }
}

/// Who asks. `peer` and `https` are those of the connection, `host` that of the request; only the
/// fields of a peer in `trusted` are looked at.
///
/// Of `X-Forwarded-For` the rightmost address counts that is not trusted itself: what is left of it
/// was written by a stranger. `Forwarded` (RFC 7239) counts where there is no `X-Forwarded-For`. A
/// proxy in front must therefore set or remove both.
#[must_use]
pub fn client<'a>(
    peer: SocketAddr,
    https: bool,
    host: &'a str,
    fields: &'a HeaderMap,
    trusted: &[IpNet],
) -> Client<'a> {
    let peer = peer.ip().to_canonical();
    let is_trusted = |address: IpAddr| trusted.iter().any(|network| network.contains(&address));
    let host = Cow::Borrowed(host);
    if trusted.is_empty() || !is_trusted(peer) {
        return Client { address: peer, https, host, by_proxy: false };
    }
    let own = Client { address: peer, https, host, by_proxy: true };
    if fields.contains_key(&X_FORWARDED_FOR) {
        by_x_forwarded(own, fields, is_trusted)
    } else if fields.contains_key(FORWARDED) {
        by_forwarded(own, fields, is_trusted)
    } else {
        own
    }
}

fn by_x_forwarded<'a>(
    own: Client<'a>,
    fields: &'a HeaderMap,
    is_trusted: impl Fn(IpAddr) -> bool,
) -> Client<'a> {
    let chain: Vec<_> = elements(&fields.get_all(&X_FORWARDED_FOR)).map(forwarded::node).collect();
    let (address, place) = nearest_stranger(own.address, &chain, is_trusted);
    // Lists of one length were written by the same proxies; of others the last word is that of the
    // proxy that is trusted.
    let at_place = |name: &HeaderName| {
        let values: Vec<_> = elements(&fields.get_all(name)).collect();
        let same = place.filter(|_| values.len() == chain.len());
        same.and_then(|place| values.get(place)).or_else(|| values.first()).copied()
    };
    let https = at_place(&X_FORWARDED_PROTO).and_then(is_https).unwrap_or(own.https);
    let host = at_place(&X_FORWARDED_HOST).filter(|host| authority::parse(host).is_ok());
    Client { address, https, host: host.map_or(own.host, Cow::Borrowed), by_proxy: true }
}

fn by_forwarded<'a>(
    own: Client<'a>,
    fields: &'a HeaderMap,
    is_trusted: impl Fn(IpAddr) -> bool,
) -> Client<'a> {
    let mut all = Vec::new();
    for value in fields.get_all(FORWARDED) {
        // What cannot be read whole is not believed in parts.
        let Some(more) = value.to_str().ok().and_then(forwarded::parse) else { return own };
        all.extend(more);
    }
    all.reverse();
    all.truncate(FORWARDED_ELEMENTS_MAX);
    let chain: Vec<_> =
        all.iter().map(|one| one.client.as_deref().and_then(forwarded::node)).collect();
    let (address, place) = nearest_stranger(own.address, &chain, is_trusted);
    let Some(element) = place.and_then(|place| all.get(place)) else { return own };
    let https = element.proto.as_deref().and_then(is_https).unwrap_or(own.https);
    let host = element.host.clone().filter(|host| authority::parse(host).is_ok());
    Client { address, https, host: host.map_or(own.host, Cow::Owned), by_proxy: true }
}

/// The first address of a chain, nearest first, that is not trusted; or the last that is known.
fn nearest_stranger(
    peer: IpAddr,
    chain: &[Option<IpAddr>],
    is_trusted: impl Fn(IpAddr) -> bool,
) -> (IpAddr, Option<usize>) {
    let mut nearest = (peer, None);
    for (place, address) in chain.iter().enumerate() {
        let Some(address) = *address else { break };
        nearest = (address, Some(place));
        if !is_trusted(address) {
            break;
        }
    }
    nearest
}

/// The elements of a list, last first, within a bound.
fn elements<'a>(values: &GetAll<'a, HeaderValue>) -> impl Iterator<Item = &'a str> {
    let values: Vec<_> = values.iter().map(|value| value.to_str().unwrap_or_default()).collect();
    let elements = values.into_iter().rev().flat_map(|value| value.rsplit(','));
    elements.map(str::trim).take(FORWARDED_ELEMENTS_MAX)
}

fn is_https(scheme: &str) -> Option<bool> {
    match scheme {
        _ if scheme.eq_ignore_ascii_case("https") => Some(true),
        _ if scheme.eq_ignore_ascii_case("http") => Some(false),
        _ => None,
    }
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;

    #[track_caller]
    fn check(peer: &str, fields: &[(&'static str, &str)], expected: &str) {
        let trusted: Vec<IpNet> =
            ["10.0.0.0/8", "2001:db8::/32"].iter().map(|net| net.parse().unwrap()).collect();
        let map: HeaderMap = fields
            .iter()
            .map(|(name, value)| (HeaderName::from_static(name), value.parse().unwrap()))
            .fold(HeaderMap::new(), |mut map, (name, value)| {
                map.append(name, value);
                map
            });
        let peer = SocketAddr::new(peer.parse().unwrap(), 1);
        let got = client(peer, false, "a.example", &map, &trusted);
        let scheme = if got.https { "https" } else { "http" };
        let text = format!("{} {scheme} {}", got.address, got.host);
        assert_eq!(text, expected, "{fields:?}");
    }

    #[test]
    fn a_stranger_is_who_it_is_whatever_it_says() {
        for fields in [
            &[][..],
            &[("x-forwarded-for", "1.1.1.1"), ("x-forwarded-proto", "https")],
            &[("forwarded", "for=1.1.1.1;proto=https;host=b.example")],
        ] {
            check("192.0.2.1", fields, "192.0.2.1 http a.example");
        }
        check("::ffff:192.0.2.1", &[("x-forwarded-for", "1.1.1.1")], "192.0.2.1 http a.example");
    }

    #[test]
    fn a_trusted_proxy_is_believed() {
        let xff = |value| [("x-forwarded-for", value)];
        check("10.0.0.1", &[], "10.0.0.1 http a.example");
        check("::ffff:10.0.0.1", &xff("192.0.2.9"), "192.0.2.9 http a.example");
        check("2001:db8::1", &xff("192.0.2.9:4711"), "192.0.2.9 http a.example");
        check("10.0.0.1", &xff("[2a00::1]:80"), "2a00::1 http a.example");
        check("10.0.0.1", &xff("2a00::1"), "2a00::1 http a.example");
        check(
            "10.0.0.1",
            &[("forwarded", "for=192.0.2.9;proto=https;host=\"b.example:8443\"")],
            "192.0.2.9 https b.example:8443",
        );
        check(
            "10.0.0.1",
            &[
                ("x-forwarded-for", "192.0.2.9"),
                ("x-forwarded-proto", "HTTPS"),
                ("x-forwarded-host", "b.example"),
            ],
            "192.0.2.9 https b.example",
        );
    }

    #[test]
    fn what_a_client_wrote_left_of_the_proxies_is_not_believed() {
        let xff = |value| [("x-forwarded-for", value)];
        check("10.0.0.1", &xff("1.1.1.1, 192.0.2.9"), "192.0.2.9 http a.example");
        check("10.0.0.1", &xff("1.1.1.1, 192.0.2.9, 10.0.0.7"), "192.0.2.9 http a.example");
        check("10.0.0.1", &xff("10.0.0.9, 10.0.0.7"), "10.0.0.9 http a.example");
        check("10.0.0.1", &xff("10.0.0.9, rubbish"), "10.0.0.1 http a.example");
        check("10.0.0.1", &xff("unknown, 10.0.0.7"), "10.0.0.7 http a.example");
        check(
            "10.0.0.1",
            &[("x-forwarded-for", "1.1.1.1"), ("x-forwarded-for", "192.0.2.9")],
            "192.0.2.9 http a.example",
        );
        check(
            "10.0.0.1",
            &[("x-forwarded-for", "192.0.2.9"), ("forwarded", "for=1.1.1.1;proto=https")],
            "192.0.2.9 http a.example",
        );
        check("10.0.0.1", &[("forwarded", "for=192.0.2.9, for=")], "10.0.0.1 http a.example");
    }

    #[test]
    fn the_scheme_is_that_of_the_client_s_place_in_the_chain() {
        let fields =
            |proto| [("x-forwarded-for", "192.0.2.9, 10.0.0.7"), ("x-forwarded-proto", proto)];
        check("10.0.0.1", &fields("https, http"), "192.0.2.9 https a.example");
        check("10.0.0.1", &fields("https"), "192.0.2.9 https a.example");
        check("10.0.0.1", &fields("gopher"), "192.0.2.9 http a.example");
        check("10.0.0.1", &fields("https, https, http"), "192.0.2.9 http a.example");
    }

    #[test]
    fn a_stranger_s_word_on_clients_is_not_handed_on_whatever_the_spelling() {
        use HandedOn::{Anew, AsItCame, NotAtAll};
        let of = |by_proxy| Client {
            address: IpAddr::from([192, 0, 2, 1]),
            https: true,
            host: "".into(),
            by_proxy,
        };
        for (name, stranger, proxy) in [
            ("x-forwarded-for", NotAtAll, Anew),
            ("x-forwarded-proto", NotAtAll, Anew),
            ("x-forwarded-host", NotAtAll, Anew),
            ("x-forwarded-port", NotAtAll, Anew),
            ("forwarded", NotAtAll, Anew),
            ("x-forwarded-prefix", NotAtAll, AsItCame),
            ("x-forwarded-", NotAtAll, AsItCame),
            ("x_forwarded_for", NotAtAll, NotAtAll),
            ("x-forwarded_proto", NotAtAll, NotAtAll),
            ("x_forwarded-host", NotAtAll, NotAtAll),
            ("x-forwarded", AsItCame, AsItCame),
            ("x-forwardedfor", AsItCame, AsItCame),
            ("forwarded-by", AsItCame, AsItCame),
            ("x_y", AsItCame, AsItCame),
        ] {
            let field = HeaderName::from_static(name);
            assert_eq!(of(false).hands_on(&field), stranger, "{name}");
            assert_eq!(of(true).hands_on(&field), proxy, "{name}");
        }
    }

    proptest! {
        #[test]
        fn no_spelling_that_reads_as_a_word_on_clients_gets_through(
            name in "[fx][-_a-z]{0,20}|x[-_]forwarded[-_][-_a-z]{0,8}|forwarded[-_]?"
        ) {
            let address = IpAddr::from([192, 0, 2, 1]);
            let stranger = Client { address, https: true, host: "".into(), by_proxy: false };
            // As programs read it (RFC 3875, 4.1.18).
            let read = name.replace('-', "_").to_ascii_uppercase();
            let speaks = read.starts_with("X_FORWARDED_") || read == "FORWARDED";
            let handed_on = stranger.hands_on(&name.parse().unwrap());
            prop_assert_eq!(handed_on == HandedOn::NotAtAll, speaks);
        }

        #[test]
        fn whatever_a_trusted_proxy_passes_on_its_own_word_counts(
            left in "[ -~]{0,80}", address in any::<[u8; 4]>()
        ) {
            let address = IpAddr::from(address);
            prop_assume!(!address.to_string().starts_with("10."));
            let mut fields = HeaderMap::new();
            fields.append(&X_FORWARDED_FOR, format!("{left}, {address}").parse().unwrap());
            let peer = "10.0.0.1:1".parse().unwrap();
            let got = client(peer, true, "", &fields, &["10.0.0.0/8".parse().unwrap()]);
            prop_assert_eq!(got.address, address);
        }
    }
}
