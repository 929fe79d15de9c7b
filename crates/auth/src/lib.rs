//! Who is asking and what they may do: the folder an auditor reads.
#![forbid(unsafe_code)]

pub mod http;
