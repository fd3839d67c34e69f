//! Names to addresses, as this machine's resolver gives them.

use std::{
    net::{IpAddr, ToSocketAddrs as _},
    sync::mpsc,
    thread,
    time::Duration,
};

/// So long the resolver may take. One that has no server to ask would take far longer.
const RESOLVE_TIMEOUT: Duration = Duration::from_secs(5);

/// The addresses of `name`, each once, in the order of the resolver.
///
/// # Errors
///
/// Why there are none, in words.
pub fn resolve(name: &str) -> Result<Vec<IpAddr>, String> {
    let (answer, answered) = mpsc::channel();
    let asked = name.to_owned();
    // It cannot be interrupted, so it is left behind when it takes too long.
    thread::spawn(move || {
        let found = (asked.as_str(), 0).to_socket_addrs();
        let found = found.map(|found| found.map(|one| one.ip().to_canonical()).collect());
        // Nobody listens any more when it took too long.
        drop(answer.send(found.map_err(|error| error.to_string())));
    });
    let mut addresses: Vec<IpAddr> = match answered.recv_timeout(RESOLVE_TIMEOUT) {
        // What the library puts in front is the same for every cause.
        Ok(found) => found.map_err(|error| {
            error.rsplit_once(": ").map_or_else(|| error.clone(), |(_, cause)| cause.to_owned())
        })?,
        Err(_) => return Err(format!("no answer in {} s", RESOLVE_TIMEOUT.as_secs())),
    };
    let mut seen = Vec::new();
    addresses.retain(|address| {
        let new = !seen.contains(address);
        seen.push(*address);
        new
    });
    if addresses.is_empty() { Err("it has no address".to_owned()) } else { Ok(addresses) }
}
