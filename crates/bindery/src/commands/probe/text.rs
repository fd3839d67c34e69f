//! What was seen, for people, on 80 columns.

use bindery_control::words::{in_days, some_of};

use super::record::{Probe, Shown};
use crate::commands::steps::Steps;

/// So many names of a certificate are shown; `--json` has all of them.
const NAMES_SHOWN: usize = 4;

/// So wide is the column of times.
const TIME_WIDTH: usize = 9;

/// The whole text.
pub(super) fn text(probe: &Probe, colour: bool) -> String {
    let mut steps = Steps::with_column(colour, TIME_WIDTH);
    steps.paragraph(&probe.url);
    steps.line("");
    let by = match probe.resolve.by {
        "option" => ", by --connect",
        "literal" => ", an address",
        _ => "",
    };
    let addresses = &probe.resolve.addresses;
    if !addresses.is_empty() {
        timed(&mut steps, "resolve", probe.resolve.ms, &format!("{}{by}", some_of(addresses, 3)));
        let from = probe.connect.from.as_ref().map(|from| format!(" from {from}"));
        let connect = format!("{}{}", probe.connect.address, from.unwrap_or_default());
        timed(&mut steps, "connect", probe.connect.ms, &connect);
    }
    handshake(&mut steps, probe);
    if let Some(request) = &probe.request {
        steps.skip_to(8);
        let text = format!("{} bytes: {}", request.bytes, request.line);
        timed(&mut steps, "request", request.ms, &text);
    }
    if let Some(answer) = &probe.answer {
        let text = format!("{}, {} bytes", answer.status_line, answer.bytes);
        timed(&mut steps, "answer", answer.ms, &text);
        steps.more(&format!("first byte after {:.1} ms", answer.first_byte_ms));
        if let Some(location) = &answer.location {
            steps.more(&format!("to {location}"));
        }
    }
    verdict(&mut steps, probe);
    steps.into_text()
}

fn timed(steps: &mut Steps, word: &str, ms: f64, text: &str) {
    steps.step_with(word, &format!("{ms:.1} ms"), text);
}

fn handshake(steps: &mut Steps, probe: &Probe) {
    if let Some(hello) = &probe.hello {
        let name = match &hello.server_name {
            Some(name) => format!("server name {name}"),
            None => "no server name".to_owned(),
        };
        timed(steps, "hello", hello.ms, &format!("{} bytes: {name}", hello.bytes));
    }
    if let Some(hello) = &probe.server_hello {
        let part = |part: &Option<String>| part.clone().unwrap_or_default();
        let (version, group) = (part(&hello.version), part(&hello.group));
        let retried = if hello.retried { " (second hello)" } else { "" };
        let text = format!("{} bytes: {version}, {group}{retried}", hello.bytes);
        timed(steps, "server hello", hello.ms, &text);
        steps.more(&part(&hello.cipher));
    }
    certificates(steps, &probe.certificates);
    if let Some(verification) = &probe.verification {
        let text = match (verification.tried, verification.good) {
            (false, _) => "not tried, by --insecure",
            (true, true) => "trusted",
            (true, false) => "NOT trusted",
        };
        timed(steps, "verify", verification.ms, text);
        if let Some(why) = &verification.why {
            steps.problem(why);
        }
    }
    if let Some(handshake) = &probe.handshake {
        let alpn = handshake.alpn.as_ref().map(|alpn| format!("; {alpn} if offered h2"));
        let alpn = alpn.unwrap_or_default();
        let text = format!("{} bytes out, {} in{alpn}", handshake.sent, handshake.received);
        timed(steps, "handshake", handshake.ms, &text);
        if handshake.client_certificate_asked {
            steps.more("a client certificate was asked for; none was given");
        }
    }
}

fn certificates(steps: &mut Steps, chain: &[Shown]) {
    let bytes: usize = chain.iter().map(|one| one.bytes).sum();
    let Some((leaf, others)) = chain.split_first() else { return };
    let count = match chain.len() {
        1 => "1 certificate".to_owned(),
        count => format!("{count} certificates"),
    };
    steps.step("certificate", &format!("{count}, {bytes} bytes"));
    steps.more(&format!("for {}", some_of(&leaf.names, NAMES_SHOWN)));
    one(steps, leaf);
    for other in others {
        steps.more(&format!("above it: {}", other.subject));
        one(steps, other);
    }
}

fn one(steps: &mut Steps, shown: &Shown) {
    steps.more(&format!("by {}", shown.issuer));
    let until = shown.not_after.get(..10).unwrap_or(&shown.not_after);
    steps.more(&format!("{}, valid until {until}, {}", shown.key, in_days(shown.days_left)));
    steps.more(&format!("thumbprint {}", shown.thumbprint));
}

fn verdict(steps: &mut Steps, probe: &Probe) {
    match (&probe.alert, &probe.error) {
        (Some(alert), _) => steps.problem(&format!("the server refused: alert {alert}")),
        (None, Some(error)) => steps.problem(error),
        (None, None) => {}
    }
    steps.line("");
    if probe.answer.is_some() {
        steps.paragraph(&format!("{:.1} ms from name to last byte", probe.total_ms));
    }
    if let Some(explained) = &probe.explained {
        match explained.same {
            true => steps.paragraph(&format!("As explained by {}: yes", explained.config)),
            false => {
                let differences = explained.differences.join("; ");
                steps
                    .paragraph(&format!("As explained by {}: NO, {differences}", explained.config));
            }
        }
    }
}
