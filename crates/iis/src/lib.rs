//! Microsoft's formats and dialects, as text: what people type, and what their scripts read.
//!
//! | module | answers |
//! |---|---|
//! | [`appcmd`] | what does `appcmd` take, what does it print, and what does it change? |
//! | [`config`] | what does `applicationHost.config` say, and how is it edited? |
//! | [`netsh`] | what does `netsh http` take, and what does it print? |
//! | [`xml`] | where does everything stand in a text, and how is it changed there? |
//!
//! Text in, text out: nothing here does I/O, and Microsoft's spelling goes no further than this
//! crate.

pub mod appcmd;
pub mod config;
pub mod netsh;
pub mod xml;
