//! Who is let in, by network.

use std::net::{IpAddr, Ipv6Addr};

use bindery_model::rules::AccessRule;
use ipnet::{IpNet, Ipv4Net};

/// Networks in the order of the configuration.
pub(crate) struct Access {
    rules: Vec<(IpNet, bool)>,
    /// For those who are in none of them.
    otherwise: bool,
}

impl Access {
    /// `None` where everybody is let in.
    pub(crate) fn new(rules: &[AccessRule]) -> Option<Self> {
        let otherwise = !rules.iter().any(|rule| rule.allow);
        let rules: Vec<_> =
            rules.iter().map(|rule| (canonical(rule.network), rule.allow)).collect();
        (!rules.is_empty()).then_some(Self { rules, otherwise })
    }

    /// Whether a client is let in. An IPv4 address is the same within IPv6 (RFC 4291, 2.5.5.2).
    pub(crate) fn admits(&self, client: IpAddr) -> bool {
        let client = client.to_canonical();
        let first = self.rules.iter().find(|(network, _)| network.contains(&client));
        first.map_or(self.otherwise, |(_, allow)| *allow)
    }
}

/// A network of IPv4 addresses that is written as one of IPv6.
fn canonical(network: IpNet) -> IpNet {
    let IpNet::V6(six) = network else { return network };
    let four = Ipv6Addr::to_ipv4_mapped(&six.addr());
    match (four, six.prefix_len().checked_sub(96)) {
        (Some(four), Some(bits)) => Ipv4Net::new(four, bits).map_or(network, IpNet::V4),
        _ => network,
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[track_caller]
    fn check(rules: &[&str], client: &str, expected: bool) {
        let rules: Vec<_> = rules
            .iter()
            .map(|text| {
                let (allow, network) = text.split_once(' ').unwrap();
                AccessRule { network: network.parse().unwrap(), allow: allow == "allow" }
            })
            .collect();
        let access = Access::new(&rules);
        let admitted = access.is_none_or(|access| access.admits(client.parse().unwrap()));
        assert_eq!(admitted, expected, "{rules:?} {client}");
    }

    #[test]
    fn the_first_network_that_holds_the_client_decides() {
        check(&[], "192.0.2.1", true);
        check(&["deny 192.0.2.0/24"], "192.0.2.1", false);
        check(&["deny 192.0.2.0/24"], "192.0.3.1", true);
        check(&["allow 192.0.2.0/24"], "192.0.2.1", true);
        check(&["allow 192.0.2.0/24"], "192.0.3.1", false);
        check(&["allow 192.0.2.7/32", "deny 192.0.2.0/24"], "192.0.2.7", true);
        check(&["allow 192.0.2.7/32", "deny 192.0.2.0/24"], "192.0.2.8", false);
        check(&["deny 192.0.2.7/32", "allow 192.0.2.0/24"], "192.0.2.7", false);
        check(&["deny 192.0.2.7/32", "allow 192.0.2.0/24"], "192.0.2.8", true);
        check(&["allow 10.0.0.0/8", "deny 0.0.0.0/0", "deny ::/0"], "2001:db8::1", false);
    }

    #[test]
    fn an_ipv4_address_within_ipv6_is_the_ipv4_address() {
        check(&["deny 192.0.2.0/24"], "::ffff:192.0.2.1", false);
        check(&["deny ::ffff:192.0.2.0/120"], "192.0.2.1", false);
        check(&["deny ::ffff:192.0.2.0/120"], "::ffff:192.0.2.1", false);
        check(&["deny ::ffff:192.0.2.0/120"], "192.0.3.1", true);
        check(&["allow 2001:db8::/32"], "2001:db8::1", true);
        check(&["allow 2001:db8::/32"], "2001:db9::1", false);
        // All of IPv6 is not all of IPv4.
        check(&["deny ::/0"], "::ffff:192.0.2.1", true);
    }
}
