//! The PROXY protocol header that tells an upstream server whom a connection serves (HAProxy's
//! specification, versions 1 and 2). It is the first that is written, before TLS.

use std::net::{IpAddr, SocketAddr};

use bindery_model::upstream::ProxyProtocol;
use proxy_header::{ProxiedAddress, ProxyHeader};

/// Whom a connection to an upstream serves. One that is open serves nobody else: its header would
/// not be true.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub(super) struct Client {
    /// The client.
    pub(super) source: SocketAddr,
    /// Where it came to.
    pub(super) destination: SocketAddr,
}

impl Client {
    /// The header. `None` of Bindery's own accord: whether a server is well, no client asks.
    pub(super) fn header(client: Option<Self>, version: ProxyProtocol) -> Vec<u8> {
        let header = client.map_or_else(ProxyHeader::with_local, |client| {
            let (source, destination) = client.of_one_family();
            ProxyHeader::with_address(ProxiedAddress::stream(source, destination))
        });
        let mut bytes = Vec::with_capacity(HEADER_BYTES);
        let encoded = match version {
            ProxyProtocol::V1 => header.encode_v1(&mut bytes),
            ProxyProtocol::V2 => header.encode_v2(&mut bytes),
        };
        debug_assert!(encoded.is_ok(), "addresses of one family and nothing else can be written");
        bytes
    }

    /// A client of one family may come to an address of the other where a load balancer stands
    /// before this server. The header knows one family, so both are then IPv6.
    fn of_one_family(self) -> (SocketAddr, SocketAddr) {
        let six = |address: SocketAddr| match address.ip() {
            IpAddr::V4(four) => SocketAddr::new(four.to_ipv6_mapped().into(), address.port()),
            IpAddr::V6(_) => address,
        };
        match self.source.is_ipv4() == self.destination.is_ipv4() {
            true => (self.source, self.destination),
            false => (six(self.source), six(self.destination)),
        }
    }
}

/// Room for either version without further fields.
const HEADER_BYTES: usize = 107;

#[cfg(test)]
mod tests {
    use super::*;

    fn client(source: &str, destination: &str) -> Client {
        Client { source: source.parse().unwrap(), destination: destination.parse().unwrap() }
    }

    fn v1(client: Option<Client>) -> String {
        String::from_utf8(Client::header(client, ProxyProtocol::V1)).unwrap()
    }

    #[test]
    fn a_line_names_both_addresses_in_one_family() {
        let four = client("192.0.2.1:40000", "203.0.113.5:443");
        assert_eq!(v1(Some(four)), "PROXY TCP4 192.0.2.1 203.0.113.5 40000 443\r\n");
        let six = client("[2001:db8::1]:40000", "[2001:db8::2]:443");
        assert_eq!(v1(Some(six)), "PROXY TCP6 2001:db8::1 2001:db8::2 40000 443\r\n");
        let mixed = client("[2001:db8::1]:40000", "203.0.113.5:443");
        assert_eq!(v1(Some(mixed)), "PROXY TCP6 2001:db8::1 ::ffff:203.0.113.5 40000 443\r\n");
        assert_eq!(v1(None), "PROXY UNKNOWN\r\n");
    }

    #[test]
    fn the_binary_header_says_the_same() {
        let four = client("192.0.2.1:40000", "203.0.113.5:443");
        let expected =
            b"\r\n\r\n\0\r\nQUIT\n\x21\x11\0\x0c\xc0\0\x02\x01\xcb\0\x71\x05\x9c\x40\x01\xbb";
        assert_eq!(Client::header(Some(four), ProxyProtocol::V2), expected);
        let local = b"\r\n\r\n\0\r\nQUIT\n\x20\0\0\0";
        assert_eq!(Client::header(None, ProxyProtocol::V2), local);
    }
}
