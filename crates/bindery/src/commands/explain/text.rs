//! The explanation for people, on 80 columns.

use std::path::Path;

use bindery_control::{
    explain::record::{
        Answer, AppliedRule, AsWindows, CertificateStep, Explanation, Handshake, Key, OtherOrder,
        Outcome, Policy, Request, Resolve, Winner,
    },
    words::{in_days, some_of},
};

use crate::commands::steps::{Mark, Steps};

/// So many names of a certificate are shown; `--json` has all of them.
const NAMES_SHOWN: usize = 4;

/// The width of what stands before a line of what Windows would do.
const WINDOWS_LABEL: usize = 14;

/// The whole text.
pub(super) fn text(told: &Explanation, colour: bool) -> String {
    let mut steps = Steps::new(colour);
    steps.paragraph(&format!("{}  ({}, {})", told.url, told.config.display(), told.order));
    for problem in &told.problems {
        steps.problem(problem);
    }
    steps.line("");
    steps.step("resolve", &resolve(&told.resolve));
    connect(&mut steps, told);
    if told.connect.problem.is_none() {
        hello(&mut steps, told);
        decide(&mut steps, told);
        certificate(&mut steps, told);
        handshake(&mut steps, told);
        request(&mut steps, told);
    }
    if !told.answered || told.other_order.is_some() {
        steps.line("");
    }
    verdict(&mut steps, told);
    if let Some(windows) = &told.windows {
        self::windows(&mut steps, windows);
    }
    steps.into_text()
}

fn resolve(resolve: &Resolve) -> String {
    let used = resolve.used;
    match (&resolve.name, resolve.by) {
        (Some(name), "option") => format!("{name} is taken to be {used}, by --ip"),
        (Some(name), "resolver") => {
            let others: Vec<_> =
                resolve.addresses.iter().skip(1).map(ToString::to_string).collect();
            match others.is_empty() {
                true => format!("{name} is {used}"),
                false => format!("{name} is {used}, and {} (see --ip)", some_of(&others, 3)),
            }
        }
        (Some(name), by) => {
            let error = resolve.error.as_deref().unwrap_or_default();
            let from = match by {
                "binding" => ", the address of its binding",
                _ => "",
            };
            format!("no address for {name} ({error}); explained for {used}{from} (see --ip)")
        }
        (None, _) => format!("{used} is an address"),
    }
}

fn connect(steps: &mut Steps, told: &Explanation) {
    let connect = &told.connect;
    let text = match (&connect.socket, &connect.protocol) {
        (Some(socket), Some(protocol)) => {
            format!("{}, taken by socket {socket} ({protocol})", connect.address)
        }
        _ => connect.address.clone(),
    };
    steps.step("connect", &text);
    if let Some(problem) = &connect.problem {
        steps.problem(problem);
    }
}

fn hello(steps: &mut Steps, told: &Explanation) {
    let hello = &told.hello;
    let why = hello.why.as_deref().unwrap_or_default();
    match &hello.server_name {
        Some(name) => steps.step("hello", &format!("server name {name}")),
        None if told.connect.protocol.as_deref() == Some("http") => {
            steps.step("hello", &format!("none: {why}"));
        }
        None => steps.step("hello", &format!("no server name: {why}")),
    }
}

fn decide(steps: &mut Steps, told: &Explanation) {
    let plain =
        if told.certificate.is_none() && told.handshake.is_none() { ", by Host" } else { "" };
    match &told.decide.winner {
        Some(winner) => {
            steps.step("decide", &format!("{} of site {}{plain}", winner.binding, winner.site));
        }
        None => steps.step("decide", &format!("nobody{plain}")),
    }
    let label = |key: &Key| {
        let mark = if key.verdict == "wins" { '>' } else { ' ' };
        format!("  {mark} {}  {}", key.rule, key.key)
    };
    let mut keys: Vec<&Key> = told.decide.keys.iter().collect();
    // A store that nobody uses is one row, not one for this address and one for all.
    keys.dedup_by(|next, before| {
        next.rule == before.rule && before.site.is_none() && next.why == before.why
    });
    let width = keys.iter().map(|key| label(key).chars().count()).max().unwrap_or(0).min(56);
    for key in keys {
        let text = match (&key.site, key.verdict, &told.decide.winner) {
            (Some(site), "wins", Some(winner)) => format!("site {site}: {}", winner.rule_text),
            (Some(site), "refused", _) => format!("site {site}, refused by the listener"),
            (Some(site), ..) => format!("site {site}, {}", key.why),
            (None, ..) => key.why.clone(),
        };
        let mark = (key.verdict == "wins").then_some(Mark::Good);
        steps.row(&label(key), width, &text, mark);
    }
}

fn certificate(steps: &mut Steps, told: &Explanation) {
    let Some(CertificateStep { shown, problems }) = &told.certificate else {
        let why = if told.handshake.is_some() { "none: nobody answers" } else { "none: http" };
        steps.step("certificate", why);
        steps.step("policy", "none");
        return;
    };
    match shown {
        None => steps.step("certificate", "none that can be shown"),
        Some(shown) => {
            let file = shown.file.strip_prefix(&told.folder).unwrap_or(&shown.file).display();
            match &shown.name {
                Some(name) => steps.step("certificate", &format!("{name}, in {file}")),
                None => steps.step("certificate", &file.to_string()),
            }
            steps.more(&format!("why: {}", shown.why));
            steps.more(&format!("for {}", some_of(&shown.names, NAMES_SHOWN)));
            steps.more(&format!("by {}", shown.issuer));
            let until = shown.not_after.get(..10).unwrap_or(&shown.not_after);
            let days = in_days(shown.days_left);
            steps.more(&format!("{}, valid until {until}, {days}", shown.key));
            steps.more(&format!("thumbprint {}", shown.thumbprint));
        }
    }
    for problem in problems {
        steps.problem(problem);
    }
    if let Some(policy) = &told.policy {
        self::policy(steps, policy, &told.folder);
    }
}

fn policy(steps: &mut Steps, policy: &Policy, folder: &Path) {
    let versions = match policy.minimum == policy.maximum {
        true => format!("TLS {} only", policy.maximum),
        false => format!("TLS {} to {}", policy.minimum, policy.maximum),
    };
    let ca = policy.client_ca.as_ref().map(|ca| ca.strip_prefix(folder).unwrap_or(ca));
    let client = match (policy.client_certificate, ca) {
        ("off", _) | (_, None) => "no client certificate".to_owned(),
        ("optional", Some(ca)) => format!("client certificate optional, by {}", ca.display()),
        (_, Some(ca)) => format!("client certificate required, by {}", ca.display()),
    };
    let resumption = if policy.resumption { "tickets" } else { "no tickets" };
    let alpn = policy.alpn.join(" or ");
    steps.step("policy", &format!("{versions}; {alpn}; {client}; {resumption}"));
    if let Some(problem) = &policy.problem {
        steps.problem(problem);
    }
}

fn handshake(steps: &mut Steps, told: &Explanation) {
    let Some(Handshake { version, group, signature, alert, why }) = &told.handshake else {
        steps.step("handshake", "none: http");
        return;
    };
    match alert {
        Some(alert) => {
            steps.step("handshake", &format!("alert {alert}"));
            steps.problem(why.as_deref().unwrap_or_default());
        }
        None => {
            let part = |part: &Option<String>| part.clone().unwrap_or_default();
            let (version, group, signature) = (part(version), part(group), part(signature));
            steps.step("handshake", &format!("at best TLS {version}, {group}, {signature}"));
            if told.policy.as_ref().is_some_and(|policy| policy.client_certificate == "require") {
                steps.more("without a client certificate: alert certificate_required");
            }
        }
    }
}

fn request(steps: &mut Steps, told: &Explanation) {
    let Some(request) = &told.request else { return };
    let Request { host, winner, state, status, why, .. } = request;
    let whose = match (winner, state) {
        (Some(Winner { site, .. }), Some(_)) => format!("Host {host}: {why}, site {site}"),
        _ => format!("Host {host}"),
    };
    steps.step("request", &whose);
    match (status, state) {
        (Some(503), _) => steps.problem("503: the site is stopped"),
        (Some(status), _) => steps.problem(&format!("{status}: {why}")),
        (None, _) => {}
    }
    if let Some(Answer { text, found, rules, problem, .. }) = &told.answer {
        steps.step("answer", text);
        if let Some(found) = found.as_ref().filter(|_| problem.is_none()) {
            steps.more(&found.text);
        }
        for AppliedRule { rule, text, .. } in rules {
            steps.more(&format!("{rule}: {text}"));
        }
        if let Some(problem) = problem {
            steps.problem(problem);
        }
    }
}

fn verdict(steps: &mut Steps, told: &Explanation) {
    if !told.answered {
        steps.paragraph("No site answers.");
    }
    if let Some(outcome) = &told.without_sni {
        steps.paragraph(&format!("A client without SNI would get: {}", self::outcome(outcome)));
    }
    if let Some(other) = &told.other_order {
        let order = match other.order.as_str() {
            "http.sys" => "HTTP.SYS's order",
            _ => "Host-first order",
        };
        steps.paragraph(&format!("{order} would give: {}", self::other(other)));
    }
}

fn outcome(outcome: &Outcome) -> String {
    let why = outcome.why.as_deref().unwrap_or_default();
    match (&outcome.winner, outcome.alert) {
        (Some(winner), None) => {
            let certificate = outcome.certificate.as_deref().unwrap_or_default();
            format!("{}, certificate {certificate}", found(winner))
        }
        (Some(winner), Some(alert)) => format!("{}, and alert {alert}: {why}", found(winner)),
        (None, alert) => format!("alert {}: {why}", alert.unwrap_or_default()),
    }
}

fn other(other: &OtherOrder) -> String {
    if other.same {
        return "the same".to_owned();
    }
    let why = other.why.as_deref().unwrap_or_default();
    match &other.winner {
        Some(winner) => format!("{}, because {why}", found(winner)),
        None => format!("nobody, because {why}"),
    }
}

fn found(winner: &Winner) -> String {
    format!("{} of site {} (rule {})", winner.binding, winner.site, winner.rule)
}

fn windows(steps: &mut Steps, told: &AsWindows) {
    steps.line("");
    steps.paragraph(&format!("{} would do this:", told.version));
    if let Some(certificate) = &told.certificate_text {
        steps.row("   certificate", WINDOWS_LABEL, certificate, None);
    }
    steps.row("   site", WINDOWS_LABEL, &told.site_text, None);
    let here = match told.differences.is_empty() {
        true => "the same".to_owned(),
        false => told.differences.join("; "),
    };
    steps.row("   here", WINDOWS_LABEL, &here, None);
}
