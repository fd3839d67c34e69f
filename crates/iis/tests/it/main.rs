//! Microsoft's dialects, from what is typed to what is printed, and changes to its files.

mod appcmd;
mod edit;
mod netsh;
mod sample;
