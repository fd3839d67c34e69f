//! The steps of a change, by name: who times them, or makes one fail in a test, is told of each.

use std::{fmt, io, sync::Arc};

/// A step of a change that was just done.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash, PartialOrd, Ord)]
pub enum Step {
    /// The file was read, and has the text in force.
    Compared,
    /// The new text is there.
    Edited,
    /// It was read as a configuration.
    Read,
    /// What differs is known.
    Differed,
    /// What is new holds on this machine.
    Inspected,
    /// All that serving needs is ready.
    Proved,
    /// New sockets listen.
    Listening,
    /// The history can bring the text back, and knows what is about to happen.
    Intended,
    /// The new file lies beside the old one, whole.
    Written,
    /// The new file is in its place, and nobody has looked yet what was there.
    Exchanged,
    /// **The change is made**: the new file is in its place, for good.
    Committed,
    /// Certificate records are in their place too.
    Records,
    /// It is served.
    Published,
    /// It stands in the history.
    Recorded,
}

impl Step {
    /// Every step, in order.
    pub const ALL: [Self; 14] = [
        Self::Compared,
        Self::Edited,
        Self::Read,
        Self::Differed,
        Self::Inspected,
        Self::Proved,
        Self::Listening,
        Self::Intended,
        Self::Written,
        Self::Exchanged,
        Self::Committed,
        Self::Records,
        Self::Published,
        Self::Recorded,
    ];

    /// Whether a change can still be refused when this is done.
    #[must_use]
    pub fn may_fail(self) -> bool {
        self < Self::Committed
    }
}

/// Who is told of each step when it is done. An error before [`Step::Committed`] refuses the
/// change; later ones are not looked at.
#[derive(Clone, Default)]
pub struct Observer(Option<Arc<Told>>);

type Told = dyn Fn(Step) -> io::Result<()> + Send + Sync;

impl Observer {
    /// Tells `told`.
    #[must_use]
    pub fn new(told: impl Fn(Step) -> io::Result<()> + Send + Sync + 'static) -> Self {
        Self(Some(Arc::new(told)))
    }

    /// A step is done.
    pub(crate) fn done(&self, step: Step) -> io::Result<()> {
        let told = self.0.as_ref().map_or(Ok(()), |told| told(step));
        if step.may_fail() { told } else { Ok(()) }
    }
}

impl fmt::Debug for Observer {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_tuple("Observer").field(&self.0.is_some()).finish()
    }
}
