//! Changes to the fields of requests and answers, and Strict-Transport-Security.

use bindery_model::rules::{HeaderRule, Hsts};
use http::{
    HeaderMap, HeaderName, HeaderValue,
    header::{CONNECTION, CONTENT_LENGTH, HOST, TE, TRAILER, TRANSFER_ENCODING, UPGRADE, VARY},
};

/// A change to the fields of a message.
#[derive(Debug)]
pub(crate) enum Change {
    Set(HeaderName, HeaderValue),
    Add(HeaderName, HeaderValue),
    Remove(HeaderName),
}

/// The changes, in order. Those that cannot stand in a message, or would say where it ends or to
/// whom it goes, are left out: such a message could be read as another one.
pub(crate) fn changes(rules: &[HeaderRule]) -> Vec<Change> {
    let change = |rule: &HeaderRule| {
        let (HeaderRule::Set(name, _) | HeaderRule::Add(name, _) | HeaderRule::Remove(name)) = rule;
        let name = HeaderName::from_bytes(name.as_bytes()).ok().filter(may_change)?;
        Some(match rule {
            HeaderRule::Set(_, value) => Change::Set(name, HeaderValue::from_str(value).ok()?),
            HeaderRule::Add(_, value) => Change::Add(name, HeaderValue::from_str(value).ok()?),
            HeaderRule::Remove(_) => Change::Remove(name),
        })
    };
    rules.iter().filter_map(change).collect()
}

fn may_change(name: &HeaderName) -> bool {
    let framing = [CONNECTION, CONTENT_LENGTH, HOST, TE, TRAILER, TRANSFER_ENCODING, UPGRADE];
    !framing.contains(name) && !matches!(name.as_str(), "keep-alive" | "proxy-connection")
}

/// Changes the fields.
pub(crate) fn apply(changes: &[Change], fields: &mut HeaderMap) {
    for change in changes {
        match change {
            Change::Set(name, value) => {
                fields.insert(name, value.clone());
            }
            Change::Add(name, value) => {
                fields.append(name, value.clone());
            }
            Change::Remove(name) => {
                fields.remove(name);
            }
        }
    }
}

/// Changes the fields of a request. What is set here is no matter of the client's connection, even
/// where its `Connection` field says so: it would be taken out again on the way to another server.
pub(crate) fn apply_to_request(changes: &[Change], fields: &mut HeaderMap) {
    remove_disguised(changes, fields);
    apply(changes, fields);
    if changes.is_empty() || !fields.contains_key(CONNECTION) {
        return;
    }
    let is_set = |token: &[u8]| {
        changes.iter().any(|change| {
            let (Change::Set(name, _) | Change::Add(name, _)) = change else { return false };
            token.eq_ignore_ascii_case(name.as_str().as_bytes())
        })
    };
    let tokens = fields
        .get_all(CONNECTION)
        .iter()
        .flat_map(|value| value.as_bytes().split(|byte| *byte == b',').map(<[u8]>::trim_ascii));
    let (set, kept): (Vec<&[u8]>, Vec<&[u8]>) = tokens.partition(|token| is_set(token));
    if set.is_empty() {
        return;
    }
    match HeaderValue::from_bytes(&kept.join(&b", "[..])) {
        Ok(kept) if !kept.is_empty() => drop(fields.insert(CONNECTION, kept)),
        _ => drop(fields.remove(CONNECTION)),
    }
}

/// Takes out what some applications read as a field that is set or removed here: to them `_` and `-`
/// are the same.
fn remove_disguised(changes: &[Change], fields: &mut HeaderMap) {
    let is_changed = |plain: &str| {
        changes.iter().any(|change| match change {
            Change::Set(name, _) | Change::Remove(name) => name.as_str().replace('_', "-") == plain,
            Change::Add(..) => false,
        })
    };
    let has = |name: &&HeaderName| {
        name.as_str().contains('_') && is_changed(&name.as_str().replace('_', "-"))
    };
    let disguised: Vec<_> = fields.keys().filter(has).cloned().collect();
    for name in disguised {
        fields.remove(name);
    }
}

/// The value of Strict-Transport-Security (RFC 6797, 6.1).
pub(crate) fn hsts(hsts: Hsts) -> Option<HeaderValue> {
    let below = if hsts.include_subdomains { "; includeSubDomains" } else { "" };
    let preload = if hsts.preload { "; preload" } else { "" };
    HeaderValue::try_from(format!("max-age={}{below}{preload}", hsts.max_age)).ok()
}

/// Says that the answer depends on this field of the request (RFC 9110, 12.5.5).
pub(crate) fn vary(fields: &mut HeaderMap, name: &'static str) {
    let names = |value: &HeaderValue| {
        let mut own = value.as_bytes().split(|byte| *byte == b',').map(<[u8]>::trim_ascii);
        own.any(|own| own == b"*" || own.eq_ignore_ascii_case(name.as_bytes()))
    };
    if !fields.get_all(VARY).iter().any(names) {
        fields.append(VARY, HeaderValue::from_static(name));
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn set(name: &str, value: &str) -> HeaderRule {
        HeaderRule::Set(name.to_owned(), value.to_owned())
    }

    fn fields(all: &HeaderMap) -> Vec<(&str, &str)> {
        let mut all: Vec<_> =
            all.iter().map(|(name, value)| (name.as_str(), value.to_str().unwrap())).collect();
        all.sort_unstable();
        all
    }

    #[test]
    fn fields_are_set_added_and_removed_in_order() {
        let rules = [
            set("X-A", "new"),
            HeaderRule::Add("x-a".to_owned(), "more".to_owned()),
            HeaderRule::Remove("X-B".to_owned()),
            set("x-c", "1"),
            HeaderRule::Remove("x-C".to_owned()),
        ];
        let mut all = HeaderMap::new();
        for (name, value) in [("x-a", "1"), ("x-a", "2"), ("x-b", "3"), ("x-d", "4")] {
            all.append(name, HeaderValue::from_static(value));
        }
        apply(&changes(&rules), &mut all);
        assert_eq!(fields(&all), [("x-a", "more"), ("x-a", "new"), ("x-d", "4")]);
    }

    #[test]
    fn a_client_cannot_have_taken_out_what_is_set_here() {
        let rules = changes(&[set("X-User", "a"), HeaderRule::Remove("x-b".to_owned())]);
        for (connection, kept) in [
            ("x-user", None),
            ("close, X-User,x-b", Some("close, x-b")),
            ("upgrade", Some("upgrade")),
        ] {
            let mut fields = HeaderMap::new();
            fields.insert(CONNECTION, HeaderValue::from_static(connection));
            apply_to_request(&rules, &mut fields);
            let left = fields.get(CONNECTION).map(|value| value.to_str().unwrap());
            assert_eq!(left, kept, "{connection}");
            assert_eq!(fields["x-user"], "a");
        }
    }

    #[test]
    fn what_is_set_here_cannot_be_said_with_other_dashes() {
        let rules = changes(&[set("X-User-Name", "a"), HeaderRule::Remove("x_b".to_owned())]);
        let mut all = HeaderMap::new();
        for name in ["x_user_name", "x-user_name", "x_user", "x_b"] {
            all.insert(HeaderName::from_static(name), HeaderValue::from_static("theirs"));
        }
        apply_to_request(&rules, &mut all);
        assert_eq!(fields(&all), [("x-user-name", "a"), ("x_user", "theirs")]);
    }

    #[test]
    fn what_frames_a_message_stays_and_what_is_no_field_is_left_out() {
        for name in [
            "Content-Length",
            "transfer-encoding",
            "Connection",
            "keep-alive",
            "Host",
            "Upgrade",
            "TE",
            "a b",
            "",
            "a\r\nb",
        ] {
            assert!(changes(&[set(name, "1"), HeaderRule::Remove(name.to_owned())]).is_empty());
        }
        for value in ["a\r\nb: c", "a\0", "\n"] {
            assert!(changes(&[set("x-a", value)]).is_empty(), "{value:?}");
        }
    }

    #[test]
    fn strict_transport_security_says_what_it_was_told() {
        let value = |max_age, include_subdomains, preload| {
            hsts(Hsts { max_age, include_subdomains, preload }).unwrap()
        };
        assert_eq!(value(31_536_000, false, false), "max-age=31536000");
        assert_eq!(value(0, true, false), "max-age=0; includeSubDomains");
        assert_eq!(value(1, true, true), "max-age=1; includeSubDomains; preload");
    }

    #[test]
    fn a_field_is_named_in_vary_once() {
        for (before, expected) in [
            (None, vec![("vary", "Origin")]),
            (Some("Accept, ORIGIN"), vec![("vary", "Accept, ORIGIN")]),
            (Some("*"), vec![("vary", "*")]),
            (Some("Origin-x"), vec![("vary", "Origin"), ("vary", "Origin-x")]),
        ] {
            let mut all = HeaderMap::new();
            if let Some(before) = before {
                all.insert(VARY, HeaderValue::from_static(before));
            }
            vary(&mut all, "Origin");
            vary(&mut all, "Origin");
            assert_eq!(fields(&all), expected);
        }
    }
}
