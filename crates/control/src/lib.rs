//! The control plane: the one writer. A change is understood, planned, proved, committed to the file
//! that is the truth, and published; nothing after the commit can fail.
//!
//! | module | answers |
//! |---|---|
//! | [`home`] | where is the truth, and how is it read, edited and replaced? |
//! | [`applier`] | who may change it, when, and what came of it? |
//! | [`history`] | who changed what, and when? |
//! | [`backup`] | what was kept under a name? |
//! | [`api`] | how is it asked, and changed, over HTTP? |
//! | [`client`] | how does a command ask it? |
//! | [`explain`] | who would answer a client, and why? |
//! | [`things`] | what is told of a site, a binding, a listener? |
//! | [`status`] | what does the server do? |
//! | [`problems`] | what is wrong, by line and column? |
//! | [`steps`] | which steps does a change have? |
//! | [`words`] | how are times and bytes said? |
//! | `written` | how was it written when it said the same? |
//! | [`watch`] | who edits the file by hand? |

pub mod api;
pub mod applier;
pub mod backup;
pub mod client;
pub mod explain;
pub mod history;
pub mod home;
mod lock;
pub mod problems;
mod replace;
pub mod status;
pub mod steps;
pub mod things;
pub mod watch;
pub mod words;
mod written;
