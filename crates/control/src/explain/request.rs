//! Steps 8 and 9: whose the Host of the request is, whether this connection may answer for it, and
//! what answers.

use std::{fs, net::SocketAddr, path::Path, sync::Arc};

use bindery_model::{
    binding::{Binding, Protocol},
    decide::may_answer,
    name::Host,
    site::{Files, Route, RouteAction, SiteState},
    upstream::{Proxy, ServerAddress},
};
use bindery_server::{
    handler::{
        https_port,
        redirect::takes_path,
        static_files::{
            PERMISSION_DENIED, StaticFiles,
            told::{Told, ToldFile},
        },
        url_host,
    },
    http::error::RequestError,
    snapshot::{Decision, Snapshot},
    text_of,
    tls::keys::CertificateFacts,
};

use super::{
    ask::{Asked, winner},
    record::{Answer, Explanation, Found, Request},
    rules::{Passage, passage},
};
use crate::words::some_of;

/// So many servers of an upstream are shown.
const SERVERS_SHOWN: usize = 4;

/// A request without TLS.
pub(super) async fn plain(
    told: &mut Explanation,
    snapshot: &Snapshot,
    asked: &Asked,
    local: SocketAddr,
) {
    let Some(decision) = snapshot.decide(local, asked.target.host.name()) else {
        let why = "no binding answers for it".to_owned();
        told.request = Some(Request { status: Some(400), why, ..unanswered(asked) });
        return;
    };
    let why = decision.binding.information.to_string();
    answered(told, snapshot, (asked, local), decision, why).await;
}

/// A request on a connection that was shown a certificate.
pub(super) async fn secure(
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
        answered(told, snapshot, (asked, local), decision, why).await;
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

async fn answered(
    told: &mut Explanation,
    snapshot: &Snapshot,
    (asked, local): (&Asked, SocketAddr),
    decision: Decision<'_>,
    why: String,
) {
    let site = snapshot.configuration.table.site(decision.binding);
    let stopped = site.state == SiteState::Stopped;
    let https_redirect = redirect_to_https(snapshot, decision.binding, asked, local);
    let target = asked.target.path.clone();
    let passed = passage(site, &asked.target, local.port());
    told.answer = match (&https_redirect, passed) {
        _ if stopped => None,
        (Some(location), _) => Some(Answer {
            handler: "https-redirect",
            target,
            text: format!("308 to {location}: the site has an https binding"),
            ..moved(308, location.clone())
        }),
        (None, Ok(passed)) => Some(answer(passed).await),
        (None, Err(reason)) => Some(Answer {
            target,
            status: Some(400),
            problem: Some(format!("400: {reason}")),
            ..handled("none", "none".to_owned())
        }),
    };
    told.answered = told.answer.as_ref().is_some_and(|answer| answer.handler != "none");
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

/// What answers a request that has passed the rules.
async fn answer(passed: Passage<'_>) -> Answer {
    let Passage { route, target, rules, redirect, .. } = passed;
    let answer = match redirect {
        Some((status, Some(location))) => moved(status, location),
        Some((status, None)) => {
            let text = format!("{status}: a rule refuses it");
            Answer { status: Some(status), ..handled("respond", text) }
        }
        None => by_handler(route, &target).await,
    };
    let text = match route.path.as_str() {
        "/" => answer.text,
        path => format!("at {path}: {}", answer.text),
    };
    Answer { route: Some(route.path.clone()), target, rules, text, ..answer }
}

fn handled(handler: &'static str, text: String) -> Answer {
    Answer {
        handler,
        route: None,
        target: String::new(),
        rules: Vec::new(),
        folder: None,
        found: None,
        status: None,
        location: None,
        text,
        problem: None,
    }
}

fn moved(status: u16, location: String) -> Answer {
    let text = format!("{status} to {location}");
    Answer { status: Some(status), location: Some(location), ..handled("redirect", text) }
}

async fn by_handler(route: &Route, target: &str) -> Answer {
    match &route.action {
        RouteAction::Files(files) => by_files(&route.path, files, target).await,
        RouteAction::Proxy(proxy) => handled("proxy", proxied(proxy)),
        RouteAction::FastCgi(program) => {
            let root = &program.files.root;
            let text = format!("scripts of {} by {}", root.display(), program.server);
            let problem = unreadable(root);
            Answer { folder: Some(root.clone()), problem, ..handled("fastcgi", text) }
        }
        RouteAction::Redirect { to, status } => {
            let location = if takes_path(to) { format!("{to}{target}") } else { to.clone() };
            moved(*status, location)
        }
        RouteAction::Respond { status, body, content_type } => {
            let text = match body.len() {
                0 => format!("always {status}, without content"),
                1 => format!("always {status}, 1 byte of {content_type}"),
                bytes => format!("always {status}, {bytes} bytes of {content_type}"),
            };
            Answer { status: Some(*status), ..handled("respond", text) }
        }
    }
}

async fn by_files(route: &str, files: &Files, target: &str) -> Answer {
    let Files { root, default_documents, .. } = files;
    let path = target.split('?').next().unwrap_or_default();
    let documents = match path.ends_with('/') {
        true if default_documents.is_empty() => " (no default document)".to_owned(),
        true => format!(" (for a folder: {})", default_documents.join(", ")),
        false => String::new(),
    };
    let fallback = match &files.fallback {
        Some(path) => format!("; {path} where nothing is found"),
        None => String::new(),
    };
    let text = format!("files of {}{documents}{fallback}", root.display());
    let answer = Answer { folder: Some(root.clone()), ..handled("files", text) };
    if let Some(problem) = unreadable(root) {
        return Answer { problem: Some(problem), ..answer };
    }
    let folder = StaticFiles::new(route, files, Arc::default());
    let told = folder.tell(path).await;
    let is_missing = matches!(told, Err(RequestError::NotFound { sub: 0, .. }));
    let mut found = found(told, target);
    if is_missing && let Some(other) = folder.in_other_case(path).await {
        found.text.push_str(&format!("; {other} is there: case counts"));
    }
    let refused = found.status >= 400;
    Answer { problem: refused.then(|| found.text.clone()), found: Some(found), ..answer }
}

/// What is in the folder for a target, said.
fn found(told: Result<Told, RequestError>, target: &str) -> Found {
    let nothing = |status, text| Found {
        status,
        substatus: 0,
        file: None,
        content_type: None,
        bytes: None,
        codings: Vec::new(),
        text,
    };
    match told {
        Ok(Told::File(ToldFile { path, length, content_type, codings, is_fallback })) => {
            let unit = if length == 1 { "byte" } else { "bytes" };
            let fallback =
                if is_fallback { "nothing is there, so the fallback answers: " } else { "" };
            let siblings = match codings.as_slice() {
                [] => String::new(),
                some => format!("; or its sibling, for who takes {}", some.join(", ")),
            };
            let file = path.display();
            let text =
                format!("200: {fallback}{file}, {length} {unit} of {content_type}{siblings}");
            Found {
                file: Some(path),
                content_type: Some(content_type),
                bytes: Some(length),
                codings,
                ..nothing(200, text)
            }
        }
        Ok(Told::Listing) => nothing(200, "200: the list of the folder".to_owned()),
        Ok(Told::ToFolder) => {
            let (path, query) = target.split_at(target.find('?').unwrap_or(target.len()));
            nothing(301, format!("301 to {path}/{query}: it is a folder"))
        }
        Err(error) => {
            let (status, substatus) = (error.status().as_u16(), error.sub_status());
            let number = match substatus {
                0 => status.to_string(),
                sub => format!("{status}.{sub}"),
            };
            let text = format!("{number}: {}{}", text_of(&error), way_out(&error));
            Found { substatus, ..nothing(status, text) }
        }
    }
}

/// What to do about it, where that is sure.
fn way_out(error: &RequestError) -> &'static str {
    match error {
        RequestError::NotFound { sub: 3, .. } => "; media_types can name one for its ending",
        RequestError::Forbidden { sub: 14, .. } => {
            "; default_documents, listing or fallback can answer"
        }
        RequestError::Forbidden { reason: PERMISSION_DENIED, .. } => {
            "; let the server's user read it, and enter all folders above"
        }
        _ => "",
    }
}

fn unreadable(root: &Path) -> Option<String> {
    let error = fs::read_dir(root).err()?;
    Some(format!("the folder cannot be read: {error}"))
}

/// Who is asked, and for which path.
fn proxied(proxy: &Proxy) -> String {
    let servers = proxy.upstream.servers.iter().map(|server| {
        let backup = if server.backup { " (backup)" } else { "" };
        match (&server.address, server.https) {
            (ServerAddress::Unix(_), _) => format!("{}{backup}", server.address),
            (ServerAddress::Tcp { .. }, true) => format!("https://{}{backup}", server.address),
            (ServerAddress::Tcp { .. }, false) => format!("http://{}{backup}", server.address),
        }
    });
    let servers = some_of(&servers.collect::<Vec<_>>(), SERVERS_SHOWN);
    match &proxy.path {
        Some(path) => format!("asks {servers}, with {path} in place of its path"),
        None => format!("asks {servers}"),
    }
}
