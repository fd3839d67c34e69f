//! Whether two parts of a text say the same, construct by construct: what an editor may bring back
//! letter for letter as it once was.

use bindery_model::problem::Span;

use super::{Element, PieceKind, parse, parse::is_space};

/// Attributes that are taken away where they say what holds anyway, with the elements they stand in.
const TAKEN_AWAY: [(&str, &str); 9] = [
    ("limits", "maxBandwidth"),
    ("limits", "maxConnections"),
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
/// an element with nothing in it (but `clear`, which says something), and an attribute that is gone
/// where an editor leaves it out for saying what holds anyway. What those mean is for the reader of
/// the whole to judge.
///
/// Where it is `loose`, order does not matter either, nor what is only noted, nor how lists are cut
/// off from what they inherit: for a part in which nobody could have changed these.
#[must_use]
pub fn alike(now: &str, before: &str, loose: bool) -> bool {
    let [now, before] = [now, before].map(|part| {
        let part = part.strip_prefix('\u{feff}').unwrap_or(part);
        // Before everything there may be a declaration, which stands nowhere else.
        match part.strip_prefix("<?xml ") {
            Some(rest) => format!("<x><?xml- {rest}</x>"),
            None => format!("<x>{part}</x>"),
        }
    });
    match (parse(&now), parse(&before)) {
        (Ok(now), Ok(before)) => same_content(now.root(), before.root(), loose),
        _ => false,
    }
}

/// What stands in an element.
enum Content<'a> {
    Element(Element<'a>),
    Other(PieceKind, &'a str),
}

fn content(of: Element<'_>, loose: bool) -> Vec<Content<'_>> {
    if loose {
        let mut all: Vec<_> = of.children().filter(|child| is_said(*child)).collect();
        all.sort_by_cached_key(|child| sorted(*child));
        return all.into_iter().map(Content::Element).collect();
    }
    let inside: Vec<_> = of.children().map(Element::span).collect();
    let own = |(kind, at): (PieceKind, Span)| {
        let child = inside.partition_point(|child| child.end <= at.start);
        let is_own = inside.get(child).is_none_or(|child| child.start > at.start);
        let text = of.tree.text().get(at.clone()).unwrap_or_default();
        is_own.then(|| (at.start, Content::Other(kind, text.trim_matches(is_space))))
    };
    let children = of.children().filter(|child| !is_bare(*child));
    let children = children.map(|child| (child.span().start, Content::Element(child)));
    let mut all: Vec<_> = children.chain(of.tree.pieces(of.content()).filter_map(own)).collect();
    all.sort_by_key(|(at, _)| *at);
    all.into_iter().map(|(_, one)| one).collect()
}

/// What an element says, in an order of its own.
fn sorted(element: Element<'_>) -> String {
    let name = element.name();
    let all = element.attributes().map(|own| (own.name(), own.value().to_lowercase()));
    let mut all: Vec<_> = all.filter(|(own, _)| !TAKEN_AWAY.contains(&(name, *own))).collect();
    all.sort();
    let mut children: Vec<_> =
        element.children().filter(|child| is_said(*child)).map(sorted).collect();
    children.sort();
    format!("{name}{all:?}{children:?}")
}

/// Whether an element is more than the way in which a list is cut off from what is inherited.
fn is_said(element: Element<'_>) -> bool {
    !matches!(element.name(), "clear" | "remove") && !is_bare(element)
}

/// Whether nothing is said by an element.
fn is_bare(element: Element<'_>) -> bool {
    let is_location = element.name() == "location";
    element.name() != "clear"
        && element.attributes().all(|own| is_location && own.name() == "path")
        && element.tree.pieces(element.content()).next().is_none()
        && element.children().all(is_bare)
}

fn same_content(now: Element<'_>, before: Element<'_>, loose: bool) -> bool {
    let (now, before) = (content(now, loose), content(before, loose));
    now.len() == before.len()
        && now.iter().zip(&before).all(|pair| match pair {
            (Content::Element(now), Content::Element(before)) => {
                now.name() == before.name()
                    && same_attributes(*now, *before)
                    && same_content(*now, *before, loose)
            }
            (Content::Other(kind, now), Content::Other(was, before)) => {
                kind == was && now == before
            }
            _ => false,
        })
}

fn same_attributes(now: Element<'_>, before: Element<'_>) -> bool {
    let element = now.name();
    let same = |name: &str, now: &str, before: &str| match (element, name) {
        ("location", "path") => now.to_lowercase() == before.to_lowercase(),
        _ => now == before,
    };
    let had = |name| before.value(name);
    now.attributes()
        .all(|own| had(own.name()).is_some_and(|had| same(own.name(), &own.value(), &had)))
        && before.attributes().all(|own| {
            now.attribute(own.name()).is_some() || TAKEN_AWAY.contains(&(element, own.name()))
        })
}

/// The element around a part of a text, as far as tags nearby show it: one further out for each time
/// it is asked with what it gave. `None` where it is not found nearby.
#[must_use]
pub fn enclosing(text: &str, part: &Span) -> Option<Span> {
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
        let behind = at;
        at = text.get(..at)?.rfind('<')?;
        // What looks like a tag within a comment is none.
        if text.get(at..behind)?.contains("-->") && !text.get(at..)?.starts_with("<!--") {
            at = text.get(..at)?.rfind("<!--")?;
        }
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

#[cfg(test)]
mod tests {
    use super::{alike, enclosing};

    #[test]
    fn what_is_only_written_otherwise_is_alike() {
        for (now, before) in [
            ("<a b=\"1\" c='2' />", "<a\n c=\"2\"\n b = '1'></a >"),
            ("<a b=\"&lt;A\" />", "<a b='&#x3c;&#65;'/>"),
            ("<s/>", "<s/><limits /><l><m></m>\n</l>"),
            ("<!-- c --><a b='1'/>", "\n<!-- c -->\n<a b='1'/>\n"),
            (
                "<location path='Shop'><a b='1'/></location>",
                "<location path='shop'><a b='1'/></location>",
            ),
            ("", "<location path='Shop'><a /></location>"),
            ("<site a='1' />", "<site a='1' serverAutoStart='true' />"),
        ] {
            assert!(alike(now, before, false), "{now} {before}");
            assert!(alike(now, before, true), "{now} {before}");
        }
        let ordered = ["<a><b c='1'/><b c='2'/></a>", "<a><!-- d --><b c='2'/><b c='1'/></a>"];
        assert!(alike(ordered[0], ordered[1], true));
        assert!(!alike(ordered[0], ordered[1], false));
    }

    #[test]
    fn what_somebody_wrote_is_not_lost() {
        for (now, before) in [
            ("<a b='1' />", "<a b='2' />"),
            ("<a b='A' />", "<a b='a' />"),
            ("<a b='1' />", "<c b='1' />"),
            ("<a b='1' />", "<a b='1' c='1' />"),
            ("<a b='1' />", ""),
            ("<location path='a' overrideMode='Deny' />", ""),
            ("<site a='1' serverAutoStart='false' />", "<site a='1' />"),
            ("<a b='1'>", "<a b='1'>"),
        ] {
            assert!(!alike(now, before, false), "{now} {before}");
            assert!(!alike(now, before, true), "{now} {before}");
        }
        for (now, before) in [
            ("<a b='1' />", "<a b='1' /><!-- c -->"),
            ("<a b='1' /><!-- d -->", "<a b='1' /><!-- c -->"),
            ("<a b='1'>x</a>", "<a b='1'>y</a>"),
            ("<a b='1' /><?p ?>", "<a b='1' />"),
            ("<a b='1'><!-- c --></a>", "<a b='1' />"),
        ] {
            assert!(!alike(now, before, false) && !alike(before, now, false), "{now} {before}");
        }
    }

    #[test]
    fn around_a_tag_is_its_element_and_so_on() {
        let text = "<r><!-- <x> --><s a='1'\n b='2'><t /><u>v</u></s><w/></r>";
        let at = text.find("<t").unwrap();
        let shown = |from: usize, length: usize| {
            let found = enclosing(text, &(from..from + length));
            found.map(|found| text.get(found).unwrap())
        };
        let site = "<s a='1'\n b='2'><t /><u>v</u></s>";
        assert_eq!(shown(at, 5), Some(site));
        assert_eq!(shown(at, 0), Some(site));
        assert_eq!(shown(at + 1, 1), Some("<t />"));
        assert_eq!(shown(text.find(" b=").unwrap(), 6), Some(site));
        assert_eq!(shown(text.find("<s").unwrap(), site.len()), Some(text));
        assert_eq!(shown(0, text.len()), None);
        assert_eq!(enclosing("<a", &(1..2)), None);
    }
}
