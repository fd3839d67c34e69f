//! Whether two parts of a text say the same, construct by construct: what an editor may bring back
//! letter for letter as it once was.

use std::borrow::Cow;

use super::{Element, PieceKind, parse, parse::is_space};

/// Attributes that are taken away where they say what holds anyway, with the elements they stand in.
const TAKEN_AWAY: [(&str, &str); 7] = [
    ("site", "serverAutoStart"),
    ("binding", "sslFlags"),
    ("logFile", "enabled"),
    ("hsts", "includeSubDomains"),
    ("hsts", "preload"),
    ("hsts", "redirectHttpToHttps"),
    ("httpRedirect", "exactDestination"),
];

/// Names of folders around what is changed do not go further than this: whoever looks for more has
/// another file in mind.
const ENCLOSING_BYTES_MAX: usize = 256 * 1024;

/// Whether `now` says what `before` says, both whole elements in a row: the same elements, comments,
/// texts and instructions in the same order, and the same attributes in any. White space, quotes and
/// the way in which characters are written do not matter; nor does the case of a `location`'s path,
/// an element with nothing in it (but `clear`, which says something), and an attribute that is there
/// or not where an editor leaves it out for saying what holds anyway. What those mean is for the
/// reader of the whole to judge.
#[must_use]
pub fn alike(now: &str, before: &str) -> bool {
    let [now, before] = [now, before].map(|part| {
        let part = part.strip_prefix('\u{feff}').unwrap_or(part);
        // Before everything there may be a declaration, which stands nowhere else.
        match part.strip_prefix("<?xml ") {
            Some(rest) => format!("<x><?xml- {rest}</x>"),
            None => format!("<x>{part}</x>"),
        }
    });
    match (parse(&now), parse(&before)) {
        (Ok(now), Ok(before)) => same_content(now.root(), before.root()),
        _ => false,
    }
}

/// What stands in an element.
enum Content<'a> {
    Element(Element<'a>),
    Other(PieceKind, &'a str),
}

fn content(of: Element<'_>) -> Vec<Content<'_>> {
    let mut all: Vec<_> = of
        .children()
        .filter(|child| !is_bare(*child))
        .collect::<Vec<_>>()
        .into_iter()
        .map(|child| (child.span().start, Content::Element(child)))
        .collect();
    let inside: Vec<_> = of.children().map(Element::span).collect();
    for (kind, at) in of.tree.pieces(of.content()) {
        let child = inside.partition_point(|child| child.end <= at.start);
        if inside.get(child).is_some_and(|child| child.start <= at.start) {
            continue;
        }
        let text = of.tree.text().get(at.clone()).unwrap_or_default();
        all.push((at.start, Content::Other(kind, text.trim_matches(is_space))));
    }
    all.sort_by_key(|(at, _)| *at);
    all.into_iter().map(|(_, one)| one).collect()
}

/// Whether nothing is said by an element.
fn is_bare(element: Element<'_>) -> bool {
    element.name() != "clear"
        && element.attributes().next().is_none()
        && element.tree.pieces(element.content()).next().is_none()
        && element.children().all(is_bare)
}

fn same_content(now: Element<'_>, before: Element<'_>) -> bool {
    let (now, before) = (content(now), content(before));
    now.len() == before.len()
        && now.iter().zip(&before).all(|pair| match pair {
            (Content::Element(now), Content::Element(before)) => {
                now.name() == before.name()
                    && same_attributes(*now, *before)
                    && same_content(*now, *before)
            }
            (Content::Other(kind, now), Content::Other(was, before)) => {
                kind == was && now == before
            }
            _ => false,
        })
}

fn same_attributes(now: Element<'_>, before: Element<'_>) -> bool {
    let all_in = |all: Element<'_>, other: Element<'_>| {
        all.attributes().all(|own| match other.value(own.name()) {
            Some(value) => same_value(all.name(), own.name(), &own.value(), &value),
            None => TAKEN_AWAY.contains(&(all.name(), own.name())),
        })
    };
    all_in(now, before) && all_in(before, now)
}

fn same_value(element: &str, name: &str, now: &Cow<'_, str>, before: &Cow<'_, str>) -> bool {
    match (element, name) {
        ("location", "path") => now.to_lowercase() == before.to_lowercase(),
        _ => now == before,
    }
}

/// The element around a part of a text, as far as tags nearby show it: one further out for each time
/// it is asked with what it gave. `None` where it is not found nearby.
#[must_use]
pub fn enclosing(text: &str, part: &std::ops::Range<usize>) -> Option<std::ops::Range<usize>> {
    let mut from = part.start;
    loop {
        let start = opening(text, from, part.start)?;
        let end = closing(text, start)?;
        if end - start > ENCLOSING_BYTES_MAX {
            return None;
        }
        if end >= part.end && (start..end) != *part {
            return Some(start..end);
        }
        from = start;
    }
}

/// Where the element begins that `from` is in.
fn opening(text: &str, from: usize, least: usize) -> Option<usize> {
    let (mut at, mut depth) = (from, 0_usize);
    loop {
        at = text.get(..at)?.rfind('<')?;
        if least - at > ENCLOSING_BYTES_MAX {
            return None;
        }
        let tag = tag(text, at)?;
        if tag.starts_with("</") {
            depth += 1;
        } else if !tag.starts_with("<!") && !tag.starts_with("<?") {
            let is_within = at + tag.len() > from;
            if is_within || !tag.ends_with("/>") {
                if depth == 0 {
                    return Some(at);
                }
                depth -= 1;
            }
        }
    }
}

/// Where the element ends that begins at a place.
fn closing(text: &str, start: usize) -> Option<usize> {
    let (mut at, mut depth) = (start, 0_usize);
    loop {
        let tag = tag(text, at)?;
        let end = at + tag.len();
        if tag.starts_with("</") {
            depth = depth.checked_sub(1)?;
        } else if !tag.starts_with("<!") && !tag.starts_with("<?") && !tag.ends_with("/>") {
            depth += 1;
        }
        if depth == 0 {
            return Some(end);
        }
        if end - start > ENCLOSING_BYTES_MAX {
            return None;
        }
        at = end + text.get(end..)?.find('<')?;
    }
}

/// A tag or a comment.
fn tag(text: &str, at: usize) -> Option<&str> {
    let rest = text.get(at..)?;
    let end = match rest.starts_with("<!--") {
        true => rest.find("-->")? + 3,
        false => rest.find('>')? + 1,
    };
    rest.get(..end)
}
