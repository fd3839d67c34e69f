//! `netsh http`: its grammar, as far as it is answered, its layouts and what its changes come to.
//!
//! | module | answers |
//! |---|---|
//! | [`grammar`] | what was typed? |
//! | [`records`] | which certificate records are there, and how do they change? |
//! | [`plan`] | what does a change to a record come to in a configuration? |
//! | [`sslcert`] | how are records printed? |
//! | [`state`] | who owns which URL? |
//! | [`text`] | what is said when something was done or refused? |

pub mod grammar;
pub mod plan;
pub mod records;
pub mod sslcert;
pub mod state;
pub mod text;
