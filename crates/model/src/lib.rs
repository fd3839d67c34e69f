//! What sites, bindings and certificates mean, and which of them answers.
//!
//! | module | answers |
//! |---|---|
//! | [`name`] | what is a host name, and what does a pattern cover? |
//! | [`binding`] | what is a binding, and how is it written? |
//! | [`tls`] | what may be negotiated on a binding? |
//! | [`certificate`] | which certificate does a binding want? |
//! | [`site`] | what is a site, and what answers at each of its paths? |
//! | [`upstream`] | which other servers answer, and how are requests shared among them? |
//! | [`rules`] | what happens around an answer? |
//! | [`log`] | what is written about requests? |
//! | [`table`] | who holds a key? |
//! | [`decide`] | which binding answers, and why? |
//! | [`endpoint`] | which sockets does a set of bindings need? |
//! | [`document`] | what does `bindery.toml` say, and what is wrong with it? |
//! | [`change`] | what is asked to be changed, and what differs? |
//! | [`record`] | which certificate record does a binding of IIS's form go by? |
//! | [`trap`] | which bindings share a certificate that is not theirs? |
//! | [`apart`] | where do two lists differ? |
//! | [`problem`] | how is something wrong said? |
//!
//! The one law: nothing here does I/O or reads a clock. Who breaks it makes decisions that cannot
//! be explained after the fact.

pub mod apart;
pub mod binding;
pub mod certificate;
pub mod change;
pub mod decide;
pub mod document;
pub mod endpoint;
pub mod log;
pub mod name;
pub mod problem;
pub mod record;
pub mod rules;
pub mod site;
pub mod table;
pub mod tls;
pub mod trap;
pub mod upstream;
