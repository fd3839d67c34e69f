//! A tree as it is going to be: what was read and what is new are asked and changed alike, any
//! number of times, and the text is written once.

use std::{
    borrow::Cow,
    collections::{BTreeMap, BTreeSet},
};

use super::{
    Element, ElementId, Tree,
    edit::{Edits, NewElement, NewValues, Position},
};

/// An element of a draft.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash, PartialOrd, Ord)]
pub enum Node {
    /// One that was read.
    Old(ElementId),
    /// One that is new, by its place in the draft.
    New(usize),
}

/// Changes to a tree that see one another.
#[derive(Debug)]
pub struct Draft<'t> {
    tree: &'t Tree<'t>,
    /// Attributes of elements that were read.
    attributes: BTreeMap<ElementId, NewValues>,
    /// New elements in those that were read.
    inserted: BTreeMap<ElementId, Vec<(Position, usize)>>,
    removed: BTreeSet<ElementId>,
    new: Vec<Fresh>,
}

#[derive(Debug)]
struct Fresh {
    name: String,
    attributes: Vec<(String, String)>,
    children: Vec<usize>,
    parent: Node,
}

impl<'t> Draft<'t> {
    /// Without changes.
    #[must_use]
    pub fn new(tree: &'t Tree<'t>) -> Self {
        Self {
            tree,
            attributes: BTreeMap::new(),
            inserted: BTreeMap::new(),
            removed: BTreeSet::new(),
            new: Vec::new(),
        }
    }

    /// The outermost element.
    #[must_use]
    pub fn root(&self) -> Node {
        Node::Old(self.tree.root().id())
    }

    /// The element of the tree, where it is one that was read.
    #[must_use]
    pub fn element(&self, node: Node) -> Option<Element<'t>> {
        match node {
            Node::Old(id) => Some(self.tree.element(id)),
            Node::New(_) => None,
        }
    }

    fn fresh(&self, at: usize) -> &Fresh {
        #[allow(clippy::indexing_slicing, reason = "new elements are never taken from the list")]
        &self.new[at]
    }

    fn fresh_mut(&mut self, at: usize) -> &mut Fresh {
        #[allow(clippy::indexing_slicing, reason = "new elements are never taken from the list")]
        &mut self.new[at]
    }

    /// Its name.
    #[must_use]
    pub fn name(&self, node: Node) -> &str {
        match node {
            Node::Old(id) => self.tree.element(id).name(),
            Node::New(at) => &self.fresh(at).name,
        }
    }

    /// The value of an attribute.
    #[must_use]
    pub fn value(&self, node: Node, name: &str) -> Option<Cow<'_, str>> {
        match node {
            Node::Old(id) => {
                let changed = self.attributes.get(&id).into_iter().flatten();
                let changed = changed.rev().find(|(own, _)| own == name).map(|(_, value)| value);
                match changed {
                    Some(value) => value.as_deref().map(Cow::Borrowed),
                    None => self.tree.element(id).value(name),
                }
            }
            Node::New(at) => {
                let mut all = self.fresh(at).attributes.iter();
                all.find(|(own, _)| own == name).map(|(_, value)| Cow::Borrowed(value.as_str()))
            }
        }
    }

    /// All attributes with their values.
    #[must_use]
    pub fn attributes(&self, node: Node) -> Vec<(String, String)> {
        let id = match node {
            Node::New(at) => return self.fresh(at).attributes.clone(),
            Node::Old(id) => id,
        };
        let own = self.tree.element(id).attributes();
        let mut all: Vec<_> =
            own.map(|own| (own.name().to_owned(), own.value().into_owned())).collect();
        for (name, value) in self.attributes.get(&id).into_iter().flatten() {
            match (all.iter_mut().find(|(own, _)| own == name), value) {
                (Some((_, own)), Some(value)) => own.clone_from(value),
                (None, Some(value)) => all.push((name.clone(), value.clone())),
                (_, None) => all.retain(|(own, _)| own != name),
            }
        }
        all
    }

    /// Gives an attribute a value.
    pub fn set(&mut self, node: Node, name: &str, value: impl Into<String>) {
        let value = value.into();
        match node {
            Node::Old(id) => {
                self.change(id, name, Some(value));
            }
            Node::New(at) => {
                let all = &mut self.fresh_mut(at).attributes;
                match all.iter_mut().find(|(own, _)| own == name) {
                    Some((_, own)) => *own = value,
                    None => all.push((name.to_owned(), value)),
                }
            }
        }
    }

    fn change(&mut self, id: ElementId, name: &str, value: Option<String>) {
        let changes = self.attributes.entry(id).or_default();
        changes.retain(|(own, _)| own != name);
        changes.push((name.to_owned(), value));
    }

    /// Takes an attribute away. Whether it was there.
    pub fn unset(&mut self, node: Node, name: &str) -> bool {
        let was = self.value(node, name).is_some();
        match node {
            Node::Old(id) if was => {
                self.change(id, name, None);
            }
            Node::Old(_) => {}
            Node::New(at) => self.fresh_mut(at).attributes.retain(|(own, _)| own != name),
        }
        was
    }

    /// The elements in it: those that were read, then new ones.
    #[must_use]
    pub fn children(&self, node: Node) -> Vec<Node> {
        match node {
            Node::Old(id) => {
                let old = self.tree.element(id).children().map(Element::id);
                let old = old.filter(|id| !self.removed.contains(id)).map(Node::Old);
                let new = self.inserted.get(&id).into_iter().flatten();
                old.chain(new.map(|(_, at)| Node::New(*at))).collect()
            }
            Node::New(at) => self.fresh(at).children.iter().map(|at| Node::New(*at)).collect(),
        }
    }

    /// The elements of a name in it.
    #[must_use]
    pub fn children_named(&self, node: Node, name: &str) -> Vec<Node> {
        let mut children = self.children(node);
        children.retain(|child| self.name(*child) == name);
        children
    }

    /// The first element of a name in it.
    #[must_use]
    pub fn child(&self, node: Node, name: &str) -> Option<Node> {
        self.children(node).into_iter().find(|child| self.name(*child) == name)
    }

    /// The first element of a name in it; a new one, at the end, where there is none.
    pub fn ensure(&mut self, node: Node, name: &str) -> Node {
        match self.child(node, name) {
            Some(child) => child,
            None => self.insert(node, Position::End, &NewElement::new(name)),
        }
    }

    /// Inserts an element. In a new one it comes behind all others.
    pub fn insert(&mut self, parent: Node, at: Position, element: &NewElement) -> Node {
        let place = self.new.len();
        self.new.push(Fresh {
            name: element.name.clone(),
            attributes: element.attributes.clone(),
            children: Vec::new(),
            parent,
        });
        match parent {
            Node::Old(id) => self.inserted.entry(id).or_default().push((at, place)),
            Node::New(parent) if at == Position::Start => {
                self.fresh_mut(parent).children.insert(0, place);
            }
            Node::New(parent) => self.fresh_mut(parent).children.push(place),
        }
        for child in &element.children {
            self.insert(Node::New(place), Position::End, child);
        }
        Node::New(place)
    }

    /// Inserts an element behind those of the same name; before everything else where there are
    /// none.
    pub fn insert_behind(&mut self, parent: Node, element: &NewElement) -> Node {
        let children = self.children(parent);
        let same = children.iter().rposition(|child| self.name(*child) == element.name);
        if let Node::New(at) = parent {
            let new = self.insert(parent, Position::End, element);
            let own = &mut self.fresh_mut(at).children;
            own.get_mut(same.map_or(0, |same| same + 1)..).unwrap_or_default().rotate_right(1);
            return new;
        }
        let old = |node: &Node| self.element(*node).map(Element::id);
        let last = children.iter().rev().filter(|child| self.name(**child) == element.name);
        let at = match (last.clone().find_map(old), children.iter().find_map(old)) {
            (Some(last), _) => Position::After(last),
            (None, Some(first)) => Position::Before(first),
            (None, None) => Position::End,
        };
        self.insert(parent, at, element)
    }

    /// Whether nothing is left in an element that was put there with what it had. One that was
    /// empty before it got anything, and has a tag for its end, is somebody's own.
    #[must_use]
    pub fn is_left_bare(&self, node: Node) -> bool {
        let own = self.element(node);
        let own = own.is_some_and(|own| !own.closes_itself() && own.children().next().is_none());
        !own && self.attributes(node).is_empty() && self.children(node).is_empty()
    }

    /// Removes an element with everything in it.
    pub fn remove(&mut self, node: Node) {
        let place = match node {
            Node::Old(id) => {
                self.removed.insert(id);
                return;
            }
            Node::New(at) => at,
        };
        match self.fresh(place).parent {
            Node::Old(id) => {
                if let Some(all) = self.inserted.get_mut(&id) {
                    all.retain(|(_, at)| *at != place);
                }
                self.inserted.retain(|_, all| !all.is_empty());
            }
            Node::New(parent) => self.fresh_mut(parent).children.retain(|at| *at != place),
        }
    }

    /// The element around it.
    #[must_use]
    pub fn parent(&self, node: Node) -> Option<Node> {
        match node {
            Node::Old(id) => self.tree.element(id).parent().map(|parent| Node::Old(parent.id())),
            Node::New(at) => Some(self.fresh(at).parent),
        }
    }

    /// The element with everything in it as a new one.
    #[must_use]
    pub fn copy(&self, node: Node) -> NewElement {
        NewElement {
            name: self.name(node).to_owned(),
            attributes: self.attributes(node),
            children: self.children(node).into_iter().map(|child| self.copy(child)).collect(),
        }
    }

    /// Whether the text stays as it is.
    #[must_use]
    pub fn is_unchanged(&self) -> bool {
        self.edits().splices().is_empty()
    }

    /// The text with all changes made.
    #[must_use]
    pub fn finish(&self) -> String {
        self.edits().finish()
    }

    fn edits(&self) -> Edits<'t> {
        let mut edits = Edits::new(self.tree);
        let all = self.attributes.iter();
        for (id, (name, value)) in all.flat_map(|(id, own)| own.iter().map(move |own| (id, own))) {
            match value {
                Some(value) => edits.set_attribute(*id, name, value.as_str()),
                None => edits.remove_attribute(*id, name),
            }
        }
        for (id, all) in &self.inserted {
            for (position, at) in all {
                edits.insert(*id, *position, self.copy(Node::New(*at)));
            }
        }
        for id in &self.removed {
            edits.remove(*id);
        }
        edits
    }
}
