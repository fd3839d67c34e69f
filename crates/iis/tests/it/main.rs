//! Microsoft's dialects, from what is typed to what is printed.

mod netsh;
