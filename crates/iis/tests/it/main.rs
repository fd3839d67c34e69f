//! Microsoft's dialects, from what is typed to what is printed, and changes to its files.

mod appcmd;
mod edit;
mod export;
mod netsh;
mod sample;
mod scripts;
