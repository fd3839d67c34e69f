//! A configuration of IIS: refused with a place inside of it, or changed and changed back without a
//! trace.
#![no_main]

use bindery_iis::xml::{
    edit::{Edits, NewElement, Position},
    parse,
};
use libfuzzer_sys::fuzz_target;

fuzz_target!(|text: &str| {
    let tree = match parse(text) {
        Ok(tree) => tree,
        Err(error) => {
            assert!(text.get(error.span).is_some());
            return;
        }
    };
    assert_eq!(Edits::new(&tree).finish(), text);
    let parent = tree.root().last_child().unwrap_or(tree.root()).id();
    let mut edits = Edits::new(&tree);
    edits.insert(parent, Position::Start, NewElement::new("fuzz-own").with("a", "<\""));
    let changed = edits.finish();
    let again = parse(&changed).expect("what was written can be read");
    let own = again.element(parent).children().next().expect("it was inserted");
    assert_eq!(own.name(), "fuzz-own");
    let mut edits = Edits::new(&again);
    edits.remove(own.id());
    assert_eq!(edits.finish(), text);
});
