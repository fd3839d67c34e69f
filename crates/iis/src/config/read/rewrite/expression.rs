//! Patterns of the module as regular expressions of ours.

use bindery_model::rules::regex;

use super::super::redirect::escape;

/// A regular expression of the module, without what looks ahead at its beginning.
#[derive(Clone)]
pub(super) struct Expression {
    pub(super) text: String,
    /// Expressions that are not to be found at the same place.
    pub(super) not: Vec<String>,
    pub(super) ignore_case: bool,
}

/// How patterns are written.
#[derive(Clone, Copy)]
pub(super) enum Syntax {
    Regex,
    Wildcard,
    Exact,
}

impl Expression {
    pub(super) fn read(text: &str, syntax: Syntax, ignore_case: bool) -> Result<Self, String> {
        let (text, not) = match syntax {
            Syntax::Regex => without_look_ahead(text)?,
            Syntax::Wildcard => {
                let parts: Vec<_> = text.split('*').map(escape).collect();
                (format!("^{}$", parts.join("(.*)")), Vec::new())
            }
            Syntax::Exact => (format!("^{}$", escape(text)), Vec::new()),
        };
        let read = Self { text, not, ignore_case };
        for one in read.all() {
            regex(&one).map_err(|_| NOT_UNDERSTOOD)?;
        }
        Ok(read)
    }

    pub(super) fn case(&self) -> &'static str {
        if self.ignore_case { "(?i)" } else { "" }
    }

    /// The whole, then what must not be found.
    pub(super) fn all(&self) -> impl Iterator<Item = String> + '_ {
        let all = [&self.text].into_iter().chain(&self.not);
        all.map(|text| format!("{}{text}", self.case()))
    }

    /// The same for what follows the path of a level. The first group is the whole of what fits.
    pub(super) fn below(&self, base: &str) -> Result<(String, Vec<String>), String> {
        let place = |text: &str| -> Result<String, String> {
            let base = escape(&format!("{}/", base.trim_end_matches('/')));
            Ok(format!("{}^{base}{}", self.case(), expression(text)?))
        };
        let not = self.not.iter().map(|text| place(text)).collect::<Result<_, _>>()?;
        Ok((place(&self.text)?, not))
    }
}

pub(super) const NOT_UNDERSTOOD: &str =
    "its regular expression is not understood (no look-around, no back references)";

/// Takes `(?!...)` away from behind the `^` at the beginning: what must not be there.
pub(super) fn without_look_ahead(text: &str) -> Result<(String, Vec<String>), String> {
    let Some(mut rest) = text.strip_prefix('^') else { return Ok((text.to_owned(), Vec::new())) };
    let mut not = Vec::new();
    while let Some(inner) = rest.strip_prefix("(?!") {
        let end = group_end(inner).ok_or(NOT_UNDERSTOOD)?;
        let (ahead, behind) = inner.split_at_checked(end).ok_or(NOT_UNDERSTOOD)?;
        not.push(format!("^(?:{ahead})"));
        rest = behind.strip_prefix(')').unwrap_or_default();
    }
    // Of alternatives it would be for the first alone.
    if !not.is_empty() && alternatives(rest)?.len() > 1 {
        return Err(NOT_UNDERSTOOD.to_owned());
    }
    Ok((format!("^{rest}"), not))
}

/// The letters of an expression that may mean more than themselves, with their places: neither
/// escaped nor in a class.
fn operators(text: &str) -> impl Iterator<Item = (usize, char)> + '_ {
    let (mut class, mut escaped) = (false, false);
    text.char_indices().filter(move |(_, letter)| {
        let plain = escaped || class || *letter == '\\';
        (escaped, class) = match letter {
            _ if escaped => (false, class),
            '\\' => (true, class),
            '[' => (false, true),
            ']' => (false, false),
            _ => (false, class),
        };
        !plain
    })
}

/// Where the group ends that `text` is in.
pub(super) fn group_end(text: &str) -> Option<usize> {
    let mut depth = 0_u32;
    for (at, letter) in operators(text) {
        match letter {
            '(' => depth += 1,
            ')' if depth == 0 => return Some(at),
            ')' => depth -= 1,
            _ => {}
        }
    }
    None
}

/// Gives the groups of an expression names, `c` and their number from `first` on; the whole is the
/// group before. Gives how many groups there are, too.
pub(super) fn with_names(text: &str, first: usize) -> Result<(String, usize), String> {
    let mut named = String::with_capacity(text.len() + 16);
    let (mut groups, mut done) = (0, 0);
    for (at, _) in operators(text).filter(|(_, letter)| *letter == '(') {
        let (before, rest) = text.split_at_checked(at + 1).unwrap_or((text, ""));
        named.push_str(before.get(done..).unwrap_or_default());
        done = before.len();
        if rest.starts_with("?<") || rest.starts_with("?P<") {
            return Err("its groups have names".to_owned());
        }
        if !rest.starts_with('?') {
            named.push_str(&format!("?P<c{}>", first + groups));
            groups += 1;
        }
    }
    named.push_str(text.get(done..).unwrap_or_default());
    Ok((named, groups))
}

/// A regular expression of the module as the end of one of ours, behind the path of its level and a
/// slash. The first group is the whole of what fits.
///
/// The module finds a pattern anywhere, unless it begins with `^`. One that has `^` elsewhere, or at
/// the beginning of some alternatives only, cannot be moved behind a path.
pub(super) fn expression(text: &str) -> Result<String, String> {
    let alternatives = alternatives(text)?;
    let anchored = alternatives.iter().filter(|one| one.starts_with('^')).count();
    let bare: Vec<_> =
        alternatives.iter().map(|one| one.strip_prefix('^').unwrap_or(one)).collect();
    if anchored == 0 {
        return Ok(format!(".*?({})", bare.join("|")));
    }
    if anchored == alternatives.len() {
        return Ok(format!("({})", bare.join("|")));
    }
    // What the whole is cannot be said: see `anchors_some`.
    let placed = alternatives.iter().map(|one| match one.strip_prefix('^') {
        Some(bare) => bare.to_owned(),
        None => format!(".*?(?:{one})"),
    });
    Ok(format!("({})", placed.collect::<Vec<_>>().join("|")))
}

/// Whether only some alternatives begin with `^`: the first group of such an [`expression`] is more
/// than the whole of what fits.
pub(super) fn anchors_some(text: &str) -> bool {
    alternatives(text).is_ok_and(|all| {
        let anchored = all.iter().filter(|one| one.starts_with('^')).count();
        anchored > 0 && anchored < all.len()
    })
}

/// The alternatives of an expression, at its outermost level.
pub(super) fn alternatives(text: &str) -> Result<Vec<&str>, String> {
    let mut depth = 0_u32;
    let mut parts = Vec::new();
    let mut start = 0;
    for (at, letter) in operators(text) {
        match letter {
            '(' => depth += 1,
            ')' => depth = depth.saturating_sub(1),
            '|' if depth == 0 => {
                parts.extend(text.get(start..at));
                start = at + 1;
            }
            '^' if at != start => return Err("it has ^ within".to_owned()),
            _ => {}
        }
    }
    parts.extend(text.get(start..));
    Ok(parts)
}

/// What every path begins with that an expression of [`Expression::below`] fits, and whether it fits
/// all that do.
pub(super) fn literal_start(text: &str) -> (String, bool) {
    let mut start = String::new();
    if text.contains('|') {
        return (start, false);
    }
    let bare = text.strip_prefix("(?i)").unwrap_or(text);
    let mut rest = bare.strip_prefix('^').unwrap_or(bare).chars();
    while let Some(letter) = rest.next() {
        match letter {
            '(' if !rest.as_str().starts_with('?') => {}
            '\\' => match rest.clone().next() {
                Some(escaped) if escaped.is_ascii_punctuation() => {
                    start.push(escaped);
                    rest.next();
                }
                _ => return (start, false),
            },
            '*' | '?' | '{' => {
                start.pop();
                return (start, false);
            }
            letter if ".[+(^$)".contains(letter) => {
                let behind = format!("{letter}{}", rest.as_str());
                let whole = [")", ".*)", ".*))", ".*$)", ".*)$)"].contains(&behind.as_str());
                return (start, whole);
            }
            letter => start.push(letter),
        }
    }
    (start, true)
}
