//! Writes rules: what happens around an answer.

use super::{Keys, settings::network};
use crate::{
    change::{Fields, Value},
    document::{
        action::REDIRECT_STATUS,
        cors,
        rewrite::{FOUND, PARTS},
        rules::{REALM, standard_compress, standard_hsts},
    },
    rules::{
        AccessRule, BasicAuth, Compress, Condition, Cors, HeaderRule, Hsts, Part, PathPattern,
        RateLimit, RedirectRule, RedirectTo, RewriteRule, RewriteTo, Rules, Test,
    },
};

/// Puts the rules that differ from the `inherited`; one that is switched off as its key takes it.
pub(super) fn put(keys: &mut Keys, own: &Rules, inherited: &Rules) {
    let Rules {
        https_only,
        access,
        rate_limit,
        basic_auth,
        redirects,
        rewrites,
        request_bytes_max,
        cors,
        request_headers,
        response_headers,
        hsts,
        compress,
        error_pages,
    } = own;
    keys.put_other("https_only", (*https_only, inherited.https_only), |own| own);
    keys.put_other("access", (access, &inherited.access), |own| access_rules(own));
    keys.put_other("rate_limit", (rate_limit, &inherited.rate_limit), |own| off_or(own, rate));
    keys.put_other("basic_auth", (basic_auth, &inherited.basic_auth), |own| off_or(own, passwords));
    keys.put_other("redirects", (redirects, &inherited.redirects), |own| {
        own.iter().map(redirect).collect::<Vec<_>>()
    });
    keys.put_other("rewrites", (rewrites, &inherited.rewrites), |own| {
        own.iter().map(rewrite).collect::<Vec<_>>()
    });
    let bytes = (request_bytes_max, &inherited.request_bytes_max);
    keys.put_other("request_bytes_max", bytes, |own| off_or(own, |bytes| (*bytes).into()));
    keys.put_other("cors", (cors, &inherited.cors), |own| off_or(own, origins));
    let fields = (request_headers, &inherited.request_headers);
    keys.put_other("request_headers", fields, |own| headers(own));
    let fields = (response_headers, &inherited.response_headers);
    keys.put_other("response_headers", fields, |own| headers(own));
    keys.put_other("hsts", (hsts, &inherited.hsts), |own| off_or(own, transport));
    keys.put_other("compress", (compress, &inherited.compress), |own| off_or(own, compression));
    keys.put_other("error_pages", (error_pages, &inherited.error_pages), |own| {
        let pages = own.iter();
        pages.map(|(status, path)| (status.to_string(), path.as_path().into())).collect::<Fields>()
    });
}

fn off_or<T>(own: &Option<T>, value: impl FnOnce(&T) -> Value) -> Value {
    own.as_ref().map_or(Value::Boolean(false), value)
}

fn access_rules(rules: &[AccessRule]) -> Value {
    let everybody = |pair: &[AccessRule]| match pair {
        [first, second] => {
            let whole = |rule: &AccessRule| rule.network.prefix_len() == 0;
            whole(first)
                && whole(second)
                && first.allow == second.allow
                && first.network.addr().is_ipv4()
                && second.network.addr().is_ipv6()
        }
        _ => false,
    };
    let mut texts = Vec::new();
    let mut rest = rules;
    while let Some((first, others)) = rest.split_first() {
        let word = if first.allow { "allow" } else { "deny" };
        if rest.get(..2).is_some_and(everybody) {
            texts.push(format!("{word} all"));
            rest = rest.get(2..).unwrap_or_default();
        } else {
            texts.push(format!("{word} {}", network(&first.network)));
            rest = others;
        }
    }
    Value::texts(texts)
}

fn rate(limit: &RateLimit) -> Value {
    let RateLimit { requests, seconds, burst } = *limit;
    let mut keys = Keys::default();
    keys.put("requests", requests);
    keys.put_other("seconds", (seconds, 1), |own| own);
    keys.put_other("burst", (burst, requests), |own| own);
    keys.0.into()
}

fn passwords(auth: &BasicAuth) -> Value {
    let BasicAuth { file, realm } = auth;
    let mut keys = Keys::default();
    keys.put("file", file.as_path());
    keys.put_other("realm", (realm.as_str(), REALM), |own| own);
    keys.0.into()
}

/// The key that says which paths are meant.
pub(super) fn pattern(path: &PathPattern) -> Keys {
    let mut keys = Keys::default();
    match path {
        PathPattern::Exact(path) => keys.put("path", path.as_str()),
        PathPattern::Prefix(path) => keys.put("prefix", path.as_str()),
        PathPattern::Suffix(end) => keys.put("suffix", end.as_str()),
        PathPattern::Regex(text) => keys.put("regex", text.as_str()),
    }
    keys
}

fn redirect(rule: &RedirectRule) -> Value {
    let RedirectRule { path, when, to, status, keep_query } = rule;
    let mut keys = pattern(path);
    conditions(&mut keys, when);
    match to {
        RedirectTo::Target(to) => keys.put("to", to.as_str()),
        RedirectTo::Here => keys.put("to", false),
        RedirectTo::Refused => {}
    }
    keys.put_other("status", (*status, REDIRECT_STATUS), |own| own);
    keys.put_other("keep_query", (*keep_query, true), |own| own);
    keys.0.into()
}

fn rewrite(rule: &RewriteRule) -> Value {
    let RewriteRule { path, when, to } = rule;
    let mut keys = pattern(path);
    conditions(&mut keys, when);
    match to {
        RewriteTo::Path { to, keep_query, next } => {
            keys.put("to", to.as_str());
            keys.put_other("keep_query", (*keep_query, true), |own| own);
            keys.put_other("next", (*next, 0), |own| own);
        }
        RewriteTo::Answer { to, status, keep_query } => {
            if let Some(to) = to {
                keys.put("to", to.as_str());
            }
            keys.put("status", *status);
            keys.put_other("keep_query", (*keep_query, true), |own| own);
        }
        RewriteTo::Here => keys.put("to", false),
    }
    keys.0.into()
}

/// `when` and `unless`.
fn conditions(keys: &mut Keys, all: &[Condition]) {
    for (key, negate) in [("when", false), ("unless", true)] {
        let mut own = Keys::default();
        for (name, test) in FOUND {
            if all.contains(&Condition { test, negate }) {
                own.put(name, true);
            }
        }
        // It is one or the other: both are written as what must be true.
        let secure = |negate| all.contains(&Condition { test: Test::Https, negate });
        if !negate && (secure(false) || secure(true)) {
            own.put("scheme", if secure(false) { "https" } else { "http" });
        }
        if negate && secure(false) && secure(true) {
            own.put("scheme", "https");
        }
        let texts = |part: &Part| -> Vec<&str> {
            let texts = all.iter().filter(|one| one.negate == negate);
            let texts = texts.filter_map(|one| match &one.test {
                Test::Text { of, regex } if of == part => Some(regex.as_str()),
                _ => None,
            });
            texts.collect()
        };
        let value = |texts: Vec<&str>| match texts.as_slice() {
            [] => None,
            [only] => Some(Value::from(*only)),
            several => Some(Value::texts(several.iter().copied())),
        };
        for (name, part) in PARTS {
            if let Some(value) = value(texts(&part)) {
                own.put(name, value);
            }
        }
        let (mut fields, mut templates) = (Fields::new(), Fields::new());
        for one in all {
            let Test::Text { of, .. } = &one.test else { continue };
            let (named, name) = match of {
                Part::Field(name) => (&mut fields, name),
                Part::Template(text) => (&mut templates, text),
                _ => continue,
            };
            if let Some(value) = value(texts(of)) {
                named.insert(name.clone(), value);
            }
        }
        for (key, named) in [("fields", fields), ("texts", templates)] {
            if !named.is_empty() {
                own.put(key, named);
            }
        }
        if !own.0.is_empty() {
            keys.put(key, own.0);
        }
    }
}

fn origins(own: &Cors) -> Value {
    let any = cors::any();
    if *own == any {
        return "any".into();
    }
    let Cors { origins, methods, headers, credentials, max_age } = own;
    let texts = |own: &Vec<String>| Value::texts(own.iter().cloned());
    let mut keys = Keys::default();
    keys.put_other("origins", (origins, &any.origins), texts);
    keys.put_other("methods", (methods, &any.methods), texts);
    keys.put_other("headers", (headers, &any.headers), texts);
    keys.put_other("credentials", (*credentials, any.credentials), |own| own);
    keys.put_other("max_age", (*max_age, any.max_age), |own| own);
    keys.0.into()
}

/// What a list of changes to fields comes to, in the order in which they are read again: what is
/// removed, set, added. A field that is removed or set and then added has what it had then.
fn headers(rules: &[HeaderRule]) -> Value {
    let is = |one: &str| {
        let one = one.to_owned();
        move |other: &str| other.eq_ignore_ascii_case(&one)
    };
    let mut removed: Vec<&str> = Vec::new();
    let mut set: Vec<(&str, &str)> = Vec::new();
    let mut added: Vec<(&str, Vec<&str>)> = Vec::new();
    for rule in rules {
        match rule {
            HeaderRule::Remove(name) => {
                let own = is(name);
                set.retain(|(other, _)| !own(other));
                added.retain(|(other, _)| !own(other));
                removed.retain(|other| !own(other));
                removed.push(name);
            }
            HeaderRule::Set(name, value) => {
                let own = is(name);
                set.retain(|(other, _)| !own(other));
                added.retain(|(other, _)| !own(other));
                removed.retain(|other| !own(other));
                set.push((name, value));
            }
            HeaderRule::Add(name, value) => {
                let own = is(name);
                if removed.iter().any(|other| own(other)) {
                    removed.retain(|other| !own(other));
                    set.push((name, value));
                } else if let Some((_, values)) = added.iter_mut().find(|(other, _)| own(other)) {
                    values.push(value);
                } else {
                    added.push((name, vec![value]));
                }
            }
        }
    }
    let mut keys = Keys::default();
    if !removed.is_empty() {
        keys.put("remove", Value::texts(removed));
    }
    if !set.is_empty() {
        let set = set.into_iter().map(|(name, value)| (name.to_owned(), value.into()));
        keys.put("set", set.collect::<Fields>());
    }
    if !added.is_empty() {
        let added = added.into_iter().map(|(name, values)| {
            let value = match values.as_slice() {
                [only] => Value::from(*only),
                several => Value::texts(several.iter().copied()),
            };
            (name.to_owned(), value)
        });
        keys.put("add", added.collect::<Fields>());
    }
    keys.0.into()
}

fn transport(own: &Hsts) -> Value {
    let standard = standard_hsts();
    if *own == standard {
        return true.into();
    }
    let Hsts { max_age, include_subdomains, preload } = *own;
    let mut keys = Keys::default();
    keys.put_other("max_age", (max_age, standard.max_age), |own| own);
    keys.put_other("include_subdomains", (include_subdomains, false), |own| own);
    keys.put_other("preload", (preload, false), |own| own);
    keys.0.into()
}

fn compression(own: &Compress) -> Value {
    let standard = standard_compress();
    if *own == standard {
        return true.into();
    }
    let Compress { bytes_min, types } = own;
    let mut keys = Keys::default();
    keys.put_other("bytes_min", (*bytes_min, standard.bytes_min), |own| own);
    keys.put_other("types", (types, &standard.types), |own| Value::texts(own.iter().cloned()));
    keys.0.into()
}
