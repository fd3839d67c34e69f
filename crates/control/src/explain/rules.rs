//! Which route of a site answers a path, and what the rules around it do with a request. Asked of
//! the same functions as a server asks.

use bindery_model::{
    binding::Protocol,
    decide::{condition as request, rewrite::Replacement, route::decoded_path},
    rules::{AccessRule, HeaderRule, RedirectTo, RewriteTo, Rules},
    site::{Route, RouteAction, Site},
};

use super::{record::AppliedRule, target::Target};

/// A request on its way through the rules of a site.
pub(super) struct Passage<'a> {
    site: &'a Site,
    /// What answers, unless a redirect does.
    pub(super) route: &'a Route,
    /// The path and query that it is asked for.
    pub(super) target: String,
    /// What happens on the way, and to the answer.
    pub(super) rules: Vec<AppliedRule>,
    /// The redirect that answers: its status and where it leads; a refusal leads nowhere.
    pub(super) redirect: Option<(u16, Option<String>)>,
}

/// Takes a request, which came to `port`, through the rules of a site.
///
/// # Errors
///
/// When the path is one that is answered with 400; the text says why.
pub(super) fn passage<'a>(
    site: &'a Site,
    asked: &Target,
    port: u16,
) -> Result<Passage<'a>, &'static str> {
    let (target, secure) = (&asked.path, asked.protocol == Protocol::Https);
    let (path, query) = parts(target);
    let path = decoded_path(path)?;
    let mut passage = Passage {
        site,
        route: site.route(&path),
        target: target.clone(),
        rules: Vec::new(),
        redirect: None,
    };
    passage.limits();
    passage.entry();
    let authority = asked.authority();
    let known = request::Asked {
        query,
        authority: &authority,
        https: secure,
        port,
        ..request::Asked::of(&path)
    };
    passage.redirect(&known);
    if passage.redirect.is_none() {
        passage.rewrite(&known)?;
    }
    passage.exit(secure);
    Ok(passage)
}

fn parts(target: &str) -> (&str, Option<&str>) {
    match target.split_once('?') {
        Some((path, query)) => (path, Some(query)),
        None => (target, None),
    }
}

impl<'a> Passage<'a> {
    fn add(&mut self, rule: &'static str, text: String) {
        let route = self.route.path.clone();
        self.rules.push(AppliedRule { rule, route, text, target: None });
    }

    fn rules(&self) -> &'a Rules {
        &self.route.rules
    }

    fn limits(&mut self) {
        let limits = &self.site.limits;
        let (requests, bytes) = (limits.requests_max, limits.bytes_per_second_max);
        if let Some(requests) = requests {
            self.add("limits", format!("at most {requests} requests of the site at once"));
        }
        if let Some(bytes) = bytes {
            self.add("limits", format!("at most {bytes} bytes a second of the site"));
        }
    }

    /// Who is let in, how often, and by which password.
    fn entry(&mut self) {
        let rules = self.rules();
        if !rules.access.is_empty() {
            self.add("access", access(&rules.access));
        }
        if let Some(rate) = rules.rate_limit {
            let seconds = match rate.seconds {
                1 => "a second".to_owned(),
                seconds => format!("in {seconds} seconds"),
            };
            let text =
                format!("{} requests {seconds}, {} at once, by client", rate.requests, rate.burst);
            self.add("rate_limit", text);
        }
        if let Some(auth) = &rules.basic_auth {
            let text = format!("a password of {}, realm {:?}", auth.file.display(), auth.realm);
            self.add("basic_auth", text);
        }
    }

    /// The first redirect that fits answers. Of one that depends on what is not known here it is
    /// said that it may.
    fn redirect(&mut self, asked: &request::Asked<'_>) {
        let rules = self.rules();
        for rule in &rules.redirects {
            let to = match &rule.to {
                RedirectTo::Target(to) => Some(to.as_str()),
                RedirectTo::Refused | RedirectTo::Here => None,
            };
            let Ok(made) = Replacement::new(&rule.path, &rule.when, to) else { continue };
            let Some(target) = made.target(asked, rule.keep_query) else { continue };
            let target = to.map(|_| target.text);
            let what = match (&rule.to, &target) {
                (RedirectTo::Here, _) => "none".to_owned(),
                (_, Some(to)) => format!("{} to {to}", rule.status),
                (_, None) => format!("{}, refused", rule.status),
            };
            let maybe = self.unsure(&made);
            let (text, route) = (format!("{what}{}", maybe.unwrap_or("")), self.route.path.clone());
            self.rules.push(AppliedRule { rule: "redirects", route, text, target: target.clone() });
            if maybe.is_none() {
                let answers = rule.to != RedirectTo::Here;
                self.redirect = answers.then_some((rule.status, target));
                return;
            }
        }
    }

    /// What a rule depends on that is known when a request comes, and not before.
    fn unsure(&self, rule: &Replacement) -> Option<&'static str> {
        let files = matches!(self.route.action, RouteAction::Files(_) | RouteAction::FastCgi(_));
        match (rule.looks_for_files(), rule.looks_at_client()) {
            (true, _) if files && !rule.admits(true, false) && !rule.admits(false, true) => {
                Some(", if no file is there")
            }
            (true, _) if files => Some(", by what is there"),
            (_, true) => Some(", by what the client sends"),
            // Nothing is there where no files are served.
            (true, false) if !rule.admits(false, false) => Some(", if a file were there"),
            _ => None,
        }
    }

    /// The first rewrite that fits, and those that it goes on with; who is let in where they lead to
    /// another route.
    fn rewrite(&mut self, asked: &request::Asked<'_>) -> Result<(), &'static str> {
        let (own, rules) = (self.route, &self.rules().rewrites);
        let mut from = 0;
        while let Some((place, rule)) = rules.iter().enumerate().nth(from) {
            from = place + 1;
            let made = Replacement::new(&rule.path, &rule.when, rule.to.target());
            let Ok(made) = made else { continue };
            let target = self.target.clone();
            let (path, query) = parts(&target);
            let path = decoded_path(path)?;
            let asked = request::Asked {
                query,
                authority: asked.authority,
                https: asked.https,
                port: asked.port,
                ..request::Asked::of(&path)
            };
            let Some(target) = made.target(&asked, rule.to.keeps_query()) else { continue };
            let maybe = self.unsure(&made);
            let target = rule.to.target().map(|_| target.text);
            let what = match (&rule.to, &target) {
                (RewriteTo::Path { .. }, Some(to)) => format!("to {to}"),
                (RewriteTo::Answer { status, .. }, Some(to)) => format!("{status} to {to}"),
                (RewriteTo::Answer { status, .. }, None) => format!("{status}, refused"),
                _ => "none".to_owned(),
            };
            let (text, route) = (format!("{what}{}", maybe.unwrap_or("")), own.path.clone());
            self.rules.push(AppliedRule { rule: "rewrites", route, text, target: target.clone() });
            if maybe.is_some() {
                continue;
            }
            match (&rule.to, target) {
                (RewriteTo::Path { next, .. }, Some(to)) => {
                    self.route = self.site.route(&decoded_path(parts(&to).0)?);
                    self.target = to;
                    if *next == 0 {
                        break;
                    }
                    from = place + usize::from(*next);
                }
                (RewriteTo::Answer { status, .. }, to) => {
                    self.route = own;
                    self.redirect = Some((*status, to));
                    return Ok(());
                }
                _ => break,
            }
        }
        if self.route.path != own.path {
            self.entry();
        }
        Ok(())
    }

    /// What happens to the content and to the answer.
    fn exit(&mut self, secure: bool) {
        let rules = self.rules();
        let answers = self.redirect.is_none();
        if let Some(bytes) = rules.request_bytes_max.filter(|_| answers) {
            self.add("request_bytes_max", format!("content of at most {bytes} bytes"));
        }
        if let Some(cors) = &rules.cors {
            let origins = match cors.origins.as_slice() {
                [] => "pages of all origins may read".to_owned(),
                some => format!("pages of {} may read", some.join(", ")),
            };
            self.add("cors", origins);
        }
        if !rules.request_headers.is_empty() && answers {
            self.add("request_headers", fields(&rules.request_headers));
        }
        if !rules.response_headers.is_empty() {
            self.add("response_headers", fields(&rules.response_headers));
        }
        if let Some(hsts) = rules.hsts.filter(|_| secure) {
            let below = if hsts.include_subdomains { ", names below too" } else { "" };
            self.add("hsts", format!("for {} seconds{below}", hsts.max_age));
        }
        if let Some(compress) = rules.compress.as_ref().filter(|_| answers) {
            self.add("compress", format!("answers of {} bytes and more", compress.bytes_min));
        }
        if !rules.error_pages.is_empty() {
            let statuses: Vec<_> =
                rules.error_pages.iter().map(|(status, _)| status.to_string()).collect();
            self.add("error_pages", format!("own pages for {}", statuses.join(", ")));
        }
    }
}

/// Who is let in, in the words of the file.
fn access(rules: &[AccessRule]) -> String {
    let word = |rule: &AccessRule| if rule.allow { "allow" } else { "deny" };
    let mut texts: Vec<String> = Vec::new();
    let mut everybody = false;
    for rule in rules {
        let text = match rule.network.prefix_len() {
            0 => format!("{} all", word(rule)),
            _ if rule.network.prefix_len() == rule.network.max_prefix_len() => {
                format!("{} {}", word(rule), rule.network.addr())
            }
            _ => format!("{} {}", word(rule), rule.network),
        };
        everybody |= rule.network.prefix_len() == 0;
        // All networks are one of IPv4 and one of IPv6.
        if texts.last() != Some(&text) {
            texts.push(text);
        }
    }
    if !everybody && rules.iter().any(|rule| rule.allow) {
        texts.push("deny all others".to_owned());
    }
    texts.join(", ")
}

/// Changes to fields, without their values: those may be secret.
fn fields(rules: &[HeaderRule]) -> String {
    let texts = rules.iter().map(|rule| match rule {
        HeaderRule::Set(name, _) => format!("set {name}"),
        HeaderRule::Add(name, _) => format!("add {name}"),
        HeaderRule::Remove(name) => format!("remove {name}"),
    });
    texts.collect::<Vec<_>>().join(", ")
}

#[cfg(test)]
mod tests {
    use super::*;

    fn rule(network: &str, allow: bool) -> AccessRule {
        AccessRule { network: network.parse().unwrap(), allow }
    }

    #[test]
    fn access_is_told_in_the_words_of_the_file() {
        let all = [rule("10.0.0.0/8", true), rule("0.0.0.0/0", false), rule("::/0", false)];
        assert_eq!(access(&all), "allow 10.0.0.0/8, deny all");
        assert_eq!(access(&[rule("192.0.2.7/32", true)]), "allow 192.0.2.7, deny all others");
        assert_eq!(access(&[rule("192.0.2.7/32", false)]), "deny 192.0.2.7");
    }
}
