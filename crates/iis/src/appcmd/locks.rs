//! Fine locks: what an element says may not be set below it. To set a locked attribute to the value
//! that it has is refused too, as IIS does.

use super::{Failure, section::HOST};
use crate::xml::edit::NewElement;

/// Attributes that every element of a section can have.
const NAMES: [&str; 5] = [
    "lockAttributes",
    "lockAllAttributesExcept",
    "lockElements",
    "lockAllElementsExcept",
    "lockItem",
];

/// The exit code of a lock violation: Win32's ERROR_LOCK_VIOLATION.
const LOCKED: u16 = 33;

/// The name of a lock, as it is written.
pub(super) fn name(text: &str) -> Option<&'static str> {
    NAMES.into_iter().find(|own| own.eq_ignore_ascii_case(text))
}

/// Whether a lock is a list of names, to which levels below add theirs.
pub(super) fn is_list(text: &str) -> bool {
    text != "lockItem" && name(text) == Some(text)
}

/// The names of one list and of another.
pub(super) fn union(one: &str, other: &str) -> String {
    let mut all: Vec<&str> = Vec::new();
    for name in one.split(',').chain(other.split(',')).map(str::trim) {
        if !name.is_empty() && !all.iter().any(|own| own.eq_ignore_ascii_case(name)) {
            all.push(name);
        }
    }
    all.join(",")
}

/// Refuses to set an attribute that is locked above.
pub(super) fn check_attribute(
    above: Option<&NewElement>,
    kind: &str,
    attribute: &str,
) -> Result<(), Failure> {
    check(above, ("lockAttributes", "lockAllAttributesExcept"), ("attribute", attribute), kind)
}

/// Refuses to change elements of a name that are locked above.
pub(super) fn check_element(
    above: Option<&NewElement>,
    kind: &str,
    element: &str,
) -> Result<(), Failure> {
    check(above, ("lockElements", "lockAllElementsExcept"), ("element", element), kind)
}

/// Refuses to take out an element of a collection that is locked above.
pub(super) fn check_item(item: &NewElement, kind: &str) -> Result<(), Failure> {
    match item.value("lockItem") {
        Some(value) if value.eq_ignore_ascii_case("true") => {
            Err(violation("element", &item.name, kind))
        }
        _ => Ok(()),
    }
}

fn check(
    above: Option<&NewElement>,
    (listed, all_except): (&str, &str),
    (what, name): (&str, &str),
    kind: &str,
) -> Result<(), Failure> {
    let Some(above) = above else { return Ok(()) };
    let has =
        |list: &str, name: &str| list.split(',').any(|own| own.trim().eq_ignore_ascii_case(name));
    let locked = above.value(listed).is_some_and(|list| has(list, name) || has(list, "*"))
        || above.value(all_except).is_some_and(|list| !list.trim().is_empty() && !has(list, name));
    if locked { Err(violation(what, name, kind)) } else { Ok(()) }
}

fn violation(what: &str, name: &str, kind: &str) -> Failure {
    let message =
        format!("Lock violation: {what} \"{name}\" of section \"{kind}\" is locked at {HOST}.");
    Failure::new(LOCKED, message)
}
