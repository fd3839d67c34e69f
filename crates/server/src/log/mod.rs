//! Logs: of requests, of what never was one, and the bound on lines about strangers.
//!
//! | module | answers |
//! |---|---|
//! | [`line`] | what does a line of the access log say? |
//! | [`substatus`] | by which numbers does IIS say more than a status? |
//! | [`errors`] | what does a line of the errors log say? |
//! | [`escape`] | how does a stranger's value stay within its field? |
//! | [`date`] | what time is it, in the words of logs? |
//! | [`access`] | where do lines wait, and requests get counted? |
//! | [`writer`] | who writes them? |
//! | [`files`] | into which file? |
//! | [`strangers`] | how many lines about clients does the program's own log take? |
//! | [`sweep`] | what becomes of files that are full? |

pub(crate) mod access;
mod date;
pub mod errors;
mod escape;
mod files;
pub(crate) mod line;
mod strangers;
pub(crate) mod substatus;
mod sweep;
mod writer;

pub(crate) use strangers::StrangerLog;

#[cfg(test)]
mod tests;
