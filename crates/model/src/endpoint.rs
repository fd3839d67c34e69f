//! Which sockets a set of bindings needs.

use std::collections::BTreeSet;

use crate::binding::Endpoint;

/// The sockets to listen on for `wanted`, where `open` are listening already.
///
/// One socket for all addresses serves every address of its port, so single addresses beside it
/// need none. But a socket that is open and still wanted stays: to close it would reset the
/// clients that wait in its queue.
#[must_use]
pub fn sockets(
    wanted: impl IntoIterator<Item = Endpoint>,
    open: &BTreeSet<Endpoint>,
) -> BTreeSet<Endpoint> {
    let wanted: BTreeSet<_> = wanted.into_iter().collect();
    let everywhere = |port| wanted.contains(&Endpoint { address: None, port });
    wanted
        .iter()
        .filter(|own| own.address.is_none() || open.contains(own) || !everywhere(own.port))
        .copied()
        .collect()
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::binding::parse_listener;

    fn endpoints(text: &str) -> BTreeSet<Endpoint> {
        text.split_whitespace()
            .map(|one| parse_listener(&format!("https/{one}")).unwrap().1)
            .collect()
    }

    #[track_caller]
    fn check(wanted: &str, open: &str, expected: &str) {
        assert_eq!(sockets(endpoints(wanted), &endpoints(open)), endpoints(expected));
    }

    #[test]
    fn one_socket_for_all_addresses_serves_its_port() {
        check("*:443 127.0.0.1:443 127.0.0.1:8443", "", "*:443 127.0.0.1:8443");
        check("127.0.0.1:443 127.0.0.2:443", "", "127.0.0.1:443 127.0.0.2:443");
    }

    #[test]
    fn an_open_socket_that_is_wanted_stays() {
        check("*:443 127.0.0.1:443", "127.0.0.1:443", "*:443 127.0.0.1:443");
        check("*:443", "127.0.0.1:443", "*:443");
        check("127.0.0.1:443", "*:443", "127.0.0.1:443");
    }
}
