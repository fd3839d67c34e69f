//! `netsh http show servicestate`, `iplisten` and `urlacl`: who owns which URL, on which addresses,
//! as far as a configuration tells. Sites stand where Windows has request queues.

use std::{fmt::Write as _, net::IpAddr};

use bindery_model::{
    binding::BindingInformation,
    document::Configuration,
    name::HostPattern,
    site::{Site, SiteState},
};

/// Every site with the URLs it owns, in the layout of the view by server sessions. Left out is what
/// only HTTP.SYS has: timeouts of the driver, processes of pools.
#[must_use]
pub fn service_state(configuration: &Configuration) -> String {
    let title = "Snapshot of HTTP service state (Server Session View):";
    let line = "-".repeat(title.len());
    let mut out = format!(
        "\n{title}\n{line}\n\n\
         Server session ID: 0000000000000001\n    \
         Version: 2.0\n    \
         State: Active\n    \
         URL groups:\n"
    );
    let table = &configuration.table;
    for (site, place) in table.sites.iter().zip(0..) {
        let urls: Vec<_> = table.bindings_of(place).map(|own| url(&own.information)).collect();
        group(&mut out, site, &urls);
    }
    out.push_str("\nRequest queues:\n");
    for site in &table.sites {
        let lines = [
            format!("    Request queue name: {}", site.name),
            "        Version: 2.0".to_owned(),
            format!("        State: {}", state(site)),
        ];
        write_lines(&mut out, &lines);
    }
    out.push('\n');
    out
}

fn group(out: &mut String, site: &Site, urls: &[String]) {
    let limit = |own: Option<u64>| own.map_or_else(|| "inherited".to_owned(), |n| n.to_string());
    let mut lines = vec![
        format!("    URL group ID: {:016X}", site.id.0),
        format!("        State: {}", state(site)),
        format!("        Request queue name: {}", site.name),
        "        Properties:".to_owned(),
        format!("            Max bandwidth: {}", limit(site.limits.bytes_per_second_max)),
        format!("            Max connections: {}", limit(site.limits.requests_max.map(u64::from))),
        format!("            Number of registered URLs: {}", urls.len()),
        "            Registered URLs:".to_owned(),
    ];
    lines.extend(urls.iter().map(|url| format!("                {url}")));
    write_lines(out, &lines);
}

fn write_lines(out: &mut String, lines: &[String]) {
    for line in lines {
        // Writing to a string does not fail.
        writeln!(out, "{line}").ok();
    }
}

fn state(site: &Site) -> &'static str {
    match site.state {
        SiteState::Started => "Active",
        SiteState::Stopped => "Inactive",
    }
}

/// A binding as HTTP.SYS registers it: in capitals, an address behind the port where a name stands
/// before it.
fn url(information: &BindingInformation) -> String {
    let BindingInformation { protocol, endpoint, host } = information;
    let url = match (host, endpoint.address) {
        (HostPattern::Any, _) => format!("{protocol}://{endpoint}/"),
        (host, None) => format!("{protocol}://{host}:{}/", endpoint.port),
        (host, Some(IpAddr::V4(address))) => {
            format!("{protocol}://{host}:{}:{address}/", endpoint.port)
        }
        (host, Some(IpAddr::V6(address))) => {
            format!("{protocol}://{host}:{}:[{address}]/", endpoint.port)
        }
    };
    url.to_uppercase()
}

/// The addresses that are listened on. As on Windows, an empty list means all.
#[must_use]
pub fn ip_listen(configuration: &Configuration) -> String {
    let title = "IP addresses present in the IP listen list:";
    let mut out = format!("\n{title}\n{}\n\n", "-".repeat(title.len()));
    let endpoints = configuration.table.endpoints();
    if endpoints.iter().all(|(endpoint, _)| endpoint.address.is_some()) {
        let mut addresses: Vec<_> =
            endpoints.iter().filter_map(|(endpoint, _)| endpoint.address).collect();
        addresses.sort_unstable();
        addresses.dedup();
        let lines: Vec<_> = addresses.iter().map(|address| format!("    {address}")).collect();
        write_lines(&mut out, &lines);
        out.push('\n');
    }
    out
}

/// Nobody needs a reservation here, so there is none: a URL belongs to the site that has a binding
/// for it.
#[must_use]
pub fn url_reservations() -> &'static str {
    "\nURL Reservations:\n-----------------\n\n"
}

#[cfg(test)]
mod tests {
    use bindery_model::document::parse;

    use super::*;

    fn configuration(bindings: &str) -> Configuration {
        let text = format!(
            "[[site]]\nname = \"shop\"\nrespond = \"\"\nbindings = [{bindings}]\n\
             limits = {{ requests_max = 7 }}\n\
             [[site]]\nname = \"old\"\nrespond = \"\"\nstate = \"stopped\"\nbindings = []\n"
        );
        parse(&text, std::path::Path::new("/")).configuration
    }

    #[test]
    fn every_site_is_a_group_with_its_urls() {
        let bindings = "\"http/*:80:\", \"https/192.0.2.1:443:\", \"https/*:443:a.example\", \
                        \"https/[::1]:443:*.b.example\"";
        let text = service_state(&configuration(bindings));
        let expected = "
Snapshot of HTTP service state (Server Session View):
-----------------------------------------------------

Server session ID: 0000000000000001
    Version: 2.0
    State: Active
    URL groups:
    URL group ID: 0000000000000001
        State: Active
        Request queue name: shop
        Properties:
            Max bandwidth: inherited
            Max connections: 7
            Number of registered URLs: 4
            Registered URLs:
                HTTP://*:80/
                HTTPS://192.0.2.1:443/
                HTTPS://A.EXAMPLE:443/
                HTTPS://*.B.EXAMPLE:443:[::1]/
    URL group ID: 0000000000000002
        State: Inactive
        Request queue name: old
        Properties:
            Max bandwidth: inherited
            Max connections: inherited
            Number of registered URLs: 0
            Registered URLs:

Request queues:
    Request queue name: shop
        Version: 2.0
        State: Active
    Request queue name: old
        Version: 2.0
        State: Inactive

";
        assert_eq!(text, expected);
    }

    #[test]
    fn addresses_are_listed_where_not_all_are_listened_on() {
        let title = "\nIP addresses present in the IP listen list:\n\
                     -------------------------------------------\n\n";
        let all = configuration("\"http/*:80:\", \"https/192.0.2.1:443:\"");
        assert_eq!(ip_listen(&all), title);
        let two = configuration(
            "\"http/192.0.2.2:80:\", \"https/192.0.2.1:443:\", \"https/192.0.2.1:444:\"",
        );
        assert_eq!(ip_listen(&two), format!("{title}    192.0.2.1\n    192.0.2.2\n\n"));
    }
}
