//! Steps 8 and 9: whose the Host of the request is, whether this connection may answer for it, and
//! what answers.

use std::{fs, net::SocketAddr};

use bindery_model::{
    binding::{Binding, Protocol},
    decide::may_answer,
    name::Host,
    site::{Files, RouteAction, Site, SiteState},
};
use bindery_server::{
    handler::{https_port, redirect::takes_path, url_host},
    snapshot::{Decision, Snapshot},
    tls::keys::CertificateFacts,
};

use super::{
    ask::{Asked, winner},
    record::{Answer, Explanation, Request},
};

/// A request without TLS.
pub(super) fn plain(told: &mut Explanation, snapshot: &Snapshot, asked: &Asked, local: SocketAddr) {
    let Some(decision) = snapshot.decide(local, asked.target.host.name()) else {
        let why = "no binding answers for it".to_owned();
        told.request = Some(Request { status: Some(400), why, ..unanswered(asked) });
        return;
    };
    answered(told, snapshot, (asked, local), decision, decision.binding.information.to_string());
}

/// A request on a connection that was shown a certificate.
pub(super) fn secure(
    told: &mut Explanation,
    snapshot: &Snapshot,
    (asked, local): (&Asked, SocketAddr),
    (shown, facts): (&Binding, &CertificateFacts),
) {
    let host = &asked.target.host;
    let misdirected = |why: String| Request { status: Some(421), why, ..unanswered(asked) };
    let Some(decision) = snapshot.decide(local, host.name()) else {
        told.request = Some(misdirected("no binding answers for it".to_owned()));
        return;
    };
    let binding = decision.binding;
    let covers = || facts.covers(&host.to_string());
    if may_answer(&shown.information, &shown.tls, binding, covers) {
        let other = &binding.information;
        let why = match shown.information == *other {
            true => "the same binding".to_owned(),
            false => format!("{other}, of the same policy and covered by the certificate shown"),
        };
        answered(told, snapshot, (asked, local), decision, why);
        return;
    }
    let why = match shown.tls == binding.tls {
        true => "which the certificate shown does not cover",
        false => "whose TLS policy is not that of the handshake",
    };
    let why = format!("it leads to {}, {why}", binding.information);
    let winner = Some(winner(snapshot, decision.rule, binding));
    told.request = Some(Request { winner, ..misdirected(why) });
}

fn unanswered(asked: &Asked) -> Request {
    Request {
        host: asked.target.authority(),
        winner: None,
        state: None,
        status: None,
        https_redirect: None,
        why: String::new(),
    }
}

fn answered(
    told: &mut Explanation,
    snapshot: &Snapshot,
    (asked, local): (&Asked, SocketAddr),
    decision: Decision<'_>,
    why: String,
) {
    let site = snapshot.configuration.table.site(decision.binding);
    let stopped = site.state == SiteState::Stopped;
    let https_redirect = redirect_to_https(snapshot, decision.binding, asked, local);
    told.answer = match (&https_redirect, stopped) {
        (_, true) => None,
        (Some(location), false) => Some(Answer {
            handler: "https-redirect",
            folder: None,
            status: Some(308),
            location: Some(location.clone()),
            text: format!("308 to {location}: the site has an https binding"),
            problem: None,
        }),
        (None, false) => Some(answer(site, &asked.target.path)),
    };
    told.answered = !stopped;
    told.request = Some(Request {
        winner: Some(winner(snapshot, decision.rule, decision.binding)),
        state: Some(if stopped { "stopped" } else { "started" }),
        status: stopped.then_some(503),
        https_redirect: https_redirect.filter(|_| !stopped),
        why,
        ..unanswered(asked)
    });
}

fn redirect_to_https(
    snapshot: &Snapshot,
    binding: &Binding,
    asked: &Asked,
    local: SocketAddr,
) -> Option<String> {
    let table = &snapshot.configuration.table;
    if asked.target.protocol == Protocol::Https || !table.site(binding).https_redirect {
        return None;
    }
    let own = table.bindings_of(binding.site).map(|binding| &binding.information);
    let own = own.filter(|information| information.protocol == Protocol::Https);
    let host: &Host = &asked.target.host;
    let port = https_port(own, host, local)?;
    Some(format!("https://{}{}", url_host(host, port, 443), asked.target.path))
}

fn answer(site: &Site, path: &str) -> Answer {
    let none = Answer {
        handler: "respond",
        folder: None,
        status: None,
        location: None,
        text: String::new(),
        problem: None,
    };
    match &site.root.action {
        RouteAction::Files(Files { root, default_documents, .. }) => {
            let problem = fs::read_dir(root).err();
            let is_folder = path.split('?').next().unwrap_or_default().ends_with('/');
            let found = match is_folder {
                true if default_documents.is_empty() => " (no default document)".to_owned(),
                true => format!(" (for a folder: {})", default_documents.join(", ")),
                false => String::new(),
            };
            Answer {
                handler: "files",
                folder: Some(root.clone()),
                text: format!("files of {}{found}", root.display()),
                problem: problem.map(|error| format!("the folder cannot be read: {error}")),
                ..none
            }
        }
        RouteAction::Proxy(proxy) => {
            let servers = proxy.upstream.servers.iter();
            let servers: Vec<_> = servers.map(|server| server.address.to_string()).collect();
            Answer { handler: "proxy", text: format!("asks {}", servers.join(", ")), ..none }
        }
        RouteAction::FastCgi(program) => Answer {
            handler: "fastcgi",
            folder: Some(program.files.root.clone()),
            text: format!("scripts of {} by {}", program.files.root.display(), program.server),
            ..none
        },
        RouteAction::Redirect { to, status } => {
            let location = if takes_path(to) { format!("{to}{path}") } else { to.clone() };
            Answer {
                handler: "redirect",
                status: Some(*status),
                text: format!("{status} to {location}"),
                location: Some(location),
                ..none
            }
        }
        RouteAction::Respond { status, body, content_type } => Answer {
            status: Some(*status),
            text: match body.len() {
                0 => format!("always {status}, without content"),
                1 => format!("always {status}, 1 byte of {content_type}"),
                bytes => format!("always {status}, {bytes} bytes of {content_type}"),
            },
            ..none
        },
    }
}
