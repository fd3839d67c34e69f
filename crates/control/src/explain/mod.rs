//! Who would answer a client, and why: the configuration is asked as a server asks it. `bindery
//! explain` and the API tell it.
//!
//! | module | answers |
//! |---|---|
//! | [`record`] | what is said, for programs |
//! | `ask` | what does the configuration say to this client? |
//! | `certificate` | which certificate is shown, and what is wrong with it? |
//! | `request` | who answers once the handshake is done? |
//! | `rules` | which route of the site, and what do its rules do? |
//! | `windows` | what would Windows have done? |
//! | `target`, `resolve` | what does a client open, and where is that? |
//! | `unserved` | what is asked, where no server runs? |

mod ask;
mod certificate;
pub mod record;
mod request;
mod resolve;
mod rules;
mod target;
mod unserved;
mod windows;

pub use ask::{Asked, Known, NO_NAME_FOR_ADDRESS, explanation};
pub use record::Explanation;
pub use resolve::resolve;
pub use target::{Target, TargetError};
pub use unserved::{Choice, Unserved, choice, name_of, unserved};
